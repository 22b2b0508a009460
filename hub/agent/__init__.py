"""The agent: the tools that a model calls (`Toolbox`), and the built-in one, which maps plain
sentences to the announced tasks and needs no model."""

from hub.agent.desk import Desk, OwnDesk
from hub.agent.toolbox import Told, Toolbox

__all__ = ["Desk", "OwnDesk", "Told", "Toolbox"]
