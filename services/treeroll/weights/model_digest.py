"""A digest by which hosts compare models without reading them whole: a large one has as many bytes as a disk reads in a
minute.

It is of config.json, of names, sizes and headers of the safetensors files, and of pieces all over them. Two checkpoints
of one training have the same configuration, headers and sizes, and differ in most of the pieces; who changed a few
bytes between these is not found out.
"""

from hashlib import sha256
from pathlib import Path

from treeroll.errors import InvalidInput
from treeroll.weights.layout import weight_files
from treeroll.weights.safetensors_file import MAX_HEADER_BYTES

# Of all files together; what is not larger than all pieces is read whole.
PIECES, PIECE_BYTES = 2048, 1024


def model_digest(model_dir: Path) -> str:
    """16 hex digits: equal ones are one model, as far as the module says. Blocks for some thousand small reads.

    InvalidInput naming a file that cannot be read.
    """
    try:
        digest = sha256((model_dir / "config.json").read_bytes())
        files = [(file, file.stat().st_size) for file in weight_files(model_dir)]
        step = max(PIECE_BYTES, sum(size for _, size in files) // PIECES)
        for file, size in files:
            digest.update(f"\n{file.name} {size}\n".encode())
            with file.open("rb") as opened:
                start = 8 + int.from_bytes(opened.read(8), "little")
                if start <= min(size, MAX_HEADER_BYTES):
                    digest.update(opened.read(start - 8))
                else:  # it is no header
                    start = 0
                for at in range(start, size, step):
                    opened.seek(at)
                    digest.update(opened.read(PIECE_BYTES))
    except OSError as error:
        raise InvalidInput(f"model path {model_dir}: {error.filename} cannot be read: {error.strerror}") from None
    return digest.hexdigest()[:16]
