"""The dashboard: pages on results of a rollout or on the store of a service, from a process of their own.

It never asks a coordinator anything, and imports neither ray, vllm, torch nor `coordinator`.
"""
