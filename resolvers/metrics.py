"""Heartbeats as their owner reads them."""

from models import Metric, Stream
from models.paging import Order
from resolvers.reads import Page, Row

# By its id only for the owner of the channel.
BY_ID = Row(Metric, Metric.id, viewer=Metric.user_id)
STREAM = Row(Stream, Stream.id, by="stream_id")
OF_STREAM = Page(Metric, Order("sent", (Metric.sent_at, Metric.id), descending=True), key=Metric.stream_id)
