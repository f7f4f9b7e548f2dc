"""Amazon's side: clients, errors, typed events, and an emulator of it. Knows neither database nor GraphQL."""
