"""SkyRL asks for Python 3.12. Before that pydantic reads no TypedDict but typing_extensions', which is the same."""

import typing

import torch
import typing_extensions

typing.TypedDict = typing_extensions.TypedDict
torch.set_num_threads(1)  # a small model is not faster by more, and far slower on a machine with other work
