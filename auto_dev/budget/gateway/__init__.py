"""The gateway between agents and model providers: each request is paid for before it is sent."""

from auto_dev.budget.gateway.grant import Grant, Stop, Upstreams, Watch
from auto_dev.budget.gateway.server import Gateway

__all__ = ["Gateway", "Grant", "Stop", "Upstreams", "Watch"]
