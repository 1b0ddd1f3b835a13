"""Ports for services that must have the same one in all their lives: those of chaos."""

from treeroll.chaos.ports import free_port

__all__ = ["free_port"]
