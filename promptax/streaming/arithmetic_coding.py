"""Arithmetic coding: intervals in a row as one number, and back (Witten, Neal and Cleary 1987).

A symbol of probability width / TOTAL narrows the interval that the number lies in to that share of
it, and costs log2(TOTAL / width) bits. Bytes leave as soon as the interval has settled them (a
range coder: Martin 1979); a carry may still run through those that left. The interval is kept in 64
bits, never below 2^56, so that cutting shares to whole numbers costs less than 2^-25 bits a symbol.
"""

TOTAL_BITS = 30
TOTAL = 1 << TOTAL_BITS  # what the widths of a symbol's alternatives sum to

WHOLE, SETTLED = 1 << 64, 1 << 56


class Encoder:
    """Codes intervals: `write` each one in turn, then `finish` gives the bytes."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.low, self.size = 0, WHOLE

    def write(self, low: int, width: int) -> None:
        """Narrow the number to the interval [low, low + width) of [0, TOTAL)."""
        share = self.size >> TOTAL_BITS
        self.low, self.size = self.low + share * low, share * width
        self._carry()
        while self.size < SETTLED:
            self._shift()
            self.size <<= 8

    def finish(self) -> bytes:
        """The fewest bytes whose number lies in the last interval.

        Zero bytes at the end are left out, since the decoder reads zeros past the end.
        """
        for free in range(64, -8, -8):
            point = -(-self.low >> free) << free  # the next number that ends in so many zero bits
            if point < self.low + self.size:
                break
        self.low = point
        self._carry()
        while self.low:
            self._shift()
        return bytes(self.bytes).rstrip(b"\0")

    def _carry(self) -> None:
        if self.low < WHOLE:
            return
        self.low -= WHOLE
        at = len(self.bytes) - 1
        while self.bytes[at] == 255:
            self.bytes[at] = 0
            at -= 1
        self.bytes[at] += 1

    def _shift(self) -> None:
        self.bytes.append(self.low >> 56)
        self.low = (self.low << 8) % WHOLE


class Decoder:
    """Decodes what an `Encoder` wrote. `point` lies in the next interval; `read` moves past it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 8
        self.above = int.from_bytes(data[:8].ljust(8, b"\0"), "big")  # the interval's lower end
        self.size = WHOLE

    def point(self) -> int:
        """A number in the next interval. It reaches TOTAL only if the data are of another coder."""
        return self.above // (self.size >> TOTAL_BITS)

    def read(self, low: int, width: int) -> None:
        """Move past the interval [low, low + width), which holds `point`."""
        share = self.size >> TOTAL_BITS
        self.above, self.size = self.above - share * low, share * width
        while self.size < SETTLED:
            following = self.data[self.at] if self.at < len(self.data) else 0
            self.above, self.size, self.at = (
                self.above << 8 | following,
                self.size << 8,
                self.at + 1,
            )
