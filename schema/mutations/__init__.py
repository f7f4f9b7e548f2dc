"""Mutations by noun; `schema.mutation` joins them. Input in, payload out."""
