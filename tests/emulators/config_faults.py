"""What `app-proxy emulate` would say about settings."""

import pytest
from pydantic import ValidationError

from proxy.configuration import fault_lines
from proxy.settings import Section


def faults_of(kind: type[Section], values: object) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(values)
    return fault_lines(refused.value, kind, {})
