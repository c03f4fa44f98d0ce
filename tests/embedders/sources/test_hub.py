"""A model of the hub that does not come: one sentence says whether name or network is at fault."""

from __future__ import annotations

import traceback

import httpx
import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from decant.embedders import HubError, RecipeError, find_model


def answering(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)


def answer(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/api"))


def test_without_a_network_both_ways_on_are_named_and_nothing_is_chained() -> None:
    # HF_HUB_OFFLINE is set for all tests, and the client refuses as it does without a network.
    with pytest.raises(HubError, match="the hub could not be asked") as caught:
        find_model("acme/no-such-model")
    assert "check the spelling and the network, or pass the folder" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "huggingface_hub/" not in shown
    assert "direct cause" not in shown
    assert "During handling" not in shown


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("[Errno -2] Name or service not known"),
        HfHubHTTPError("503 Service Unavailable", response=answer(503)),
        TimeoutError("timed out"),
    ],
    ids=["no name server", "a server in trouble", "no answer"],
)
def test_a_hub_that_does_not_answer_is_not_the_users_fault(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    answering(monkeypatch, error)
    with pytest.raises(HubError, match=type(error).__name__):
        find_model("acme/no-such-model")


def test_a_name_that_the_hub_does_not_know_is_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, RepositoryNotFoundError("404\nmore lines", response=answer(404)))
    with pytest.raises(RecipeError, match="the hub gave no model of that name") as caught:
        find_model("acme/no-such-model")
    assert not isinstance(caught.value, HubError)
    assert "more lines" not in str(caught.value)


def test_what_is_no_hub_id_is_a_folder_that_is_not_there() -> None:
    with pytest.raises(RecipeError, match="it is no hub id") as caught:
        find_model("./models/no such folder")
    assert not isinstance(caught.value, HubError)
