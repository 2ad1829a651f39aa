import shutil
from collections.abc import Iterator

import pytest

from tests.observability.scraped_story import Story, play


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    if shutil.which("prometheus") is None:
        pytest.fail("there is no prometheus: make observability-tools (Debian, as root)", pytrace=False)
    with play(tmp_path_factory.mktemp("observability")) as told:
        yield told
