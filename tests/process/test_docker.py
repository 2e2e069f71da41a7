"""An engine that is not there. Docker's SDK may start programs to look for one."""

import pytest

from builder.engine.docker import DockerEngine
from builder.errors import EngineError


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_no_engine_says_where_to_point_it(host: str) -> None:
    with pytest.raises(EngineError, match="no Docker engine answers") as raised:
        DockerEngine({"DOCKER_HOST": host}).check()
    assert "DOCKER_HOST" in raised.value.hint
