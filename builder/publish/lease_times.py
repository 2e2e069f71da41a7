"""How long leases hold, and how long a run waits for what."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """All in seconds. `lease`: how long a record holds without being renewed. `settle`: from the writing of a record to the
    look at whether it is still there. `patience`: how long is waited for another run. `skew`: by how much clocks may differ
    before a lease that is over by ours is taken for one, without having watched it for its whole time.
    """

    lease: int = 60
    settle: float = 1.0
    patience: float = 180.0
    poll: float = 1.0
    skew: float = 600.0
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
