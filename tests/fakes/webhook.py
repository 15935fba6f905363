"""A receiver of webhooks that takes everything."""

from tests.fakes.service import Answer, Request, Service


class Webhook(Service):
    def handle(self, request: Request) -> Answer:
        return Answer(204, "")
