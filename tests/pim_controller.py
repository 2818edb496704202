"""A channel of HBM2 with PIM, stepped clock by clock: what the closed forms of ``arch.pim.registers`` must reproduce.

One command a clock, first come first served among those that may be issued; a transaction that ends a group waits for all before
it. Banks of the second half of a pair are commands' own: in all-bank mode only banks 0 and 1 are addressed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

IDLE, OPEN, CLOSING = range(3)
PARK, ENTER, LEAVE, CONTROL, ZEROS = 1 << 12, 0x17FF, 0x1FFF, 0x3FFF, 1000
BANKS, RUN, PAGE, QUEUE = 16, 8, 32, 64


@dataclass
class Access:
    """A column access; ``last`` of its group."""

    write: bool
    bank: int
    row: int
    last: bool = False


@dataclass
class Program:
    """The accesses of a kernel in order."""

    accesses: list[Access] = field(default_factory=list)

    def add(self, write: bool, bank: int, row: int, column: int = 0, count: int = 1) -> None:
        """Add accesses of one bank that go on into the next rows."""
        self.accesses += [Access(write, bank, row + (column + i) // PAGE) for i in range(count)]

    def end(self) -> None:
        """End a group."""
        if self.accesses:
            self.accesses[-1].last = True

    def park(self) -> None:
        """Read every bank, bank groups in turn."""
        for bank in range(4):
            for group in range(4):
                self.add(False, 4 * group + bank, PARK)
        self.end()

    def enter(self, programs: int = 1) -> None:
        """Go to all-bank mode and write the program."""
        self.park()
        for bank in (0, 1, 8, 9):
            self.add(True, bank, ENTER)
        self.end()
        self.add(True, 1, CONTROL, 0, programs)
        self.end()

    def control(self) -> None:
        """Start or stop the units."""
        self.add(True, 0, CONTROL)
        self.end()

    def leave(self) -> "Program":
        """Go back to normal operation."""
        for bank in (0, 1):
            self.add(True, bank, LEAVE)
        self.end()
        self.park()
        return self


def gemv(outputs: int, inputs: int, tree: bool = False) -> Program:
    """Return a matrix-vector product in tiles."""
    made = Program()
    if tree:
        for bank in range(BANKS):
            made.add(True, bank, ZEROS, 0, RUN)
        made.end()
    made.enter(2 if tree else 1)
    order = range(inputs) if tree else [*range(0, inputs, 2), *range(1, inputs, 2)]
    for output in range(outputs):
        made.control()
        column = outputs * inputs // 2 * RUN * RUN + output * RUN
        for i in order:
            made.add(True, 1, CONTROL, 0, RUN)
            made.end()
            for part in range(RUN):
                made.add(False, i % 2, 0, RUN * RUN * (i // 2 + output * inputs // 2) + part * RUN, RUN)
                made.end()
            if tree:
                made.add(True, 1, 0, column + i * RUN, RUN)
                made.end()
                made.add(False, 0, ZEROS, 0, RUN)
                made.end()
        if not tree:
            made.add(True, 1, 0, column, RUN)
            made.end()
        made.control()
    return made.leave()


def elementwise(tiles: int, reads: int) -> Program:
    """Return an elementwise kernel: operands and result in rows of their own."""
    made = Program()
    made.enter()
    made.control()
    for tile in range(tiles):
        for bank in (0, 1):
            for operand in range(reads):
                made.add(False, bank, 128 * operand, tile * RUN, RUN)
                made.end()
            made.add(True, bank, 128 * reads, tile * RUN, RUN)
            made.end()
    made.control()
    return made.leave()


@dataclass
class Bank:
    """What may be issued to a bank, and when."""

    state: int = IDLE
    row: int = -1
    read: int = 0
    write: int = 0
    activate: int = 0
    precharge: int = 0
    idle_at: int = 0


class Controller:
    """Issues a program; ``clocks`` is when its last data has come."""

    def __init__(self, timing: Mapping[str, float], program: Program, refresh: bool) -> None:
        self.t = {name: int(value) for name, value in timing.items()}
        self.banks = [Bank() for _ in range(BANKS)]
        self.waiting: list[Access] = []
        self.coming = iter(program.accesses)
        self.all_banks, self.switch_at, self.entered, self.left = False, -1, 0, 0
        self.due = self.t["tREFI"] // self.t["ranks"] if refresh else 1 << 60
        self.refreshing = False
        self.clock, self.end = 0, 0

    def clocks(self) -> int:
        """Run to the end."""
        more = True
        while more or self.waiting:
            self._settle()
            self._issue()
            if len(self.waiting) < QUEUE:
                access = next(self.coming, None)
                more = access is not None
                if access is not None:
                    self.waiting.append(access)
            self.clock += 1
        return self.end + 1

    def _settle(self) -> None:
        for bank in self.banks:
            if bank.state == CLOSING and bank.idle_at <= self.clock:
                bank.state = IDLE
        if self.switch_at == self.clock:
            self.all_banks = not self.all_banks
        if self.clock == self.due:
            self.refreshing, self.due = True, self.due + self.t["tREFI"]

    def _issue(self) -> None:
        if self.refreshing and self._refresh():
            return
        if not (self._column() or self._activate()):
            self._precharge()

    def _refresh(self) -> bool:
        opened = [bank for bank in self.banks if bank.state == OPEN]
        for bank in opened:
            if bank.precharge <= self.clock:
                self._close(bank)
                return True
        if opened:
            return False
        for bank in self.banks:
            bank.state, bank.idle_at, bank.activate = CLOSING, self.clock + self.t["tRFC"], self.clock + self.t["tRFC"]
        self.refreshing = False
        return True

    def _column(self) -> bool:
        for i, access in enumerate(self.waiting):
            bank = self.banks[access.bank]
            if bank.state == OPEN and bank.row == access.row and (bank.write if access.write else bank.read) <= self.clock:
                if i and access.last:
                    return False
                self._access(self.waiting.pop(i))
                return True
            if access.last:
                return False
        return False

    def _access(self, access: Access) -> None:
        t, burst = self.t, self.t["BL"] // 2
        own = self.banks[access.bank]
        close = t["WL"] + burst + t["tWR"] if access.write else burst + max(t["tRTPL"], t["tCCDL"]) - t["tCCDL"]
        own.precharge = max(own.precharge, self.clock + close)
        for number, bank in enumerate(self.banks):
            same = max(t["tCCDL"] if number // 4 == access.bank // 4 else t["tCCDS"], burst)
            read, write = (t["WL"] + burst + t["tWTRL"], same) if access.write else (same, t["RL"] + burst + t["tRTRS"] - t["WL"])
            bank.read, bank.write = max(bank.read, self.clock + read), max(bank.write, self.clock + write)
        self.end = max(self.end, self.clock + t["WL" if access.write else "RL"] + burst)

    def _activate(self) -> bool:
        t = self.t
        for i, access in enumerate(self.waiting):
            if i and access.last:
                return False
            bank = self.banks[access.bank]
            if bank.state == IDLE and bank.activate <= self.clock and not (self.all_banks and access.bank >= 2):
                bank.state, bank.row = OPEN, access.row
                bank.activate, bank.precharge = self.clock + t["tRC"], max(bank.precharge, self.clock + t["tRAS"])
                bank.read, bank.write = max(bank.read, self.clock + t["tRCDRD"]), max(bank.write, self.clock + t["tRCDWR"])
                for other in self.banks:
                    if other is not bank:
                        other.activate = max(other.activate, self.clock + t["tRRDS"])
                self.entered += access.row == ENTER
                if access.row == ENTER and self.entered == 4:
                    self.switch_at = self.clock + 2
                return True
        return False

    def _precharge(self) -> None:
        for number, bank in enumerate(self.banks):
            if (
                bank.state == OPEN
                and bank.precharge <= self.clock
                and not any(a.bank == number and a.row == bank.row for a in self._group())
            ):
                self._close(bank)
                return

    def _group(self) -> Iterator[Access]:
        for access in self.waiting:
            yield access
            if access.last:
                return

    def _close(self, bank: Bank) -> None:
        self.left += bank.row == LEAVE
        if bank.row == LEAVE and self.left == 2:
            self.switch_at = self.clock + 2
        bank.state, bank.idle_at = CLOSING, self.clock + self.t["tRP"]
        bank.activate = max(bank.activate, self.clock + self.t["tRP"])
