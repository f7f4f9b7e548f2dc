"""Categories a channel may be in: reference data, kept by `models.migrate.upgrade`."""

from sqlalchemy import CheckConstraint, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt


class Category(Base):
    """A subject of streams, listed by `position`."""

    __tablename__ = "categories"

    slug: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    position: Mapped[int] = mapped_column(index=True)
    created_at: Mapped[CreatedAt]

    __table_args__ = (CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name="slug_shape"),)


# slug -> name, in the order in which they are listed.
SEED = {
    "gaming": "Gaming",
    "music": "Music",
    "art": "Art",
    "cooking": "Cooking",
    "coding": "Coding",
    "education": "Education",
    "fitness": "Fitness",
    "sports": "Sports",
    "travel": "Travel",
    "just-chatting": "Just Chatting",
}
