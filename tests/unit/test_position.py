import pytest
from hypothesis import given
from hypothesis import strategies as st

from bhavcast.domain.errors import BadRequest
from bhavcast.domain.position import MAX_REV, NOWHERE, Position

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"


def test_a_position_is_written_as_it_is_read():
    assert Position.parse(f"{EPOCH}:123456") == Position(EPOCH, 123456)
    assert str(Position(EPOCH, 0)) == f"{EPOCH}:0"


@given(
    st.from_regex(r"[0-9]{8}T[0-9]{4}Z-[0-9a-f]{16}", fullmatch=True),
    st.integers(min_value=0, max_value=MAX_REV),
)
def test_every_position_survives_the_wire(epoch, rev):
    assert Position.parse(str(Position(epoch, rev))) == Position(epoch, rev)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":0",
        EPOCH,
        f"{EPOCH}:",
        f"{EPOCH}:-1",
        f"{EPOCH}:01",
        f"{EPOCH}:1.0",
        f"{EPOCH}: 1",
        f"{EPOCH}:1\n",
        f"{EPOCH}:१",
        f"{EPOCH}:{MAX_REV + 1}",
        f"{EPOCH}:{'9' * 5000}",
        f"{EPOCH.upper()}:1",
        f"x{EPOCH}:1",
    ],
)
def test_another_form_is_refused_naming_the_parameter(text):
    with pytest.raises(BadRequest, match="expected epoch:rev as received in a frame") as refused:
        Position.parse(text, field="since")
    assert refused.value.field == "since"
    assert len(refused.value.detail) < 400


def read(text):
    try:
        return str(Position.parse(text))
    except BadRequest as error:
        return error.field


@given(st.text(max_size=60) | st.from_regex(r"[0-9]{8}T[0-9]{4}Z-[0-9a-f]{16}:[0-9]{1,20}"))
def test_any_text_is_a_position_or_its_own_error(text):
    assert read(text) in (text, "pos")


def test_nowhere_is_before_everything_and_never_on_the_wire():
    assert NOWHERE.rev < Position(EPOCH, 1).rev
    with pytest.raises(BadRequest):
        Position.parse(str(NOWHERE))
