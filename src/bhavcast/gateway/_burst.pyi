# What a wheel holds that was built where a C compiler is: see _burst.c.
def send(
    wires: list[tuple[int, bytes]], rows: list[bytes], before: bytes, after: bytes, binary: bool, /
) -> list[tuple[int, bytes | None]]: ...
