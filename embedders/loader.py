"""Open an encoder or a reranker by its place: a bundle's folder, or the address of a server.

Nothing heavy loads before the place is known, so a machine that asks a server needs no runtime.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from .errors import ProviderError
from .remote.address import is_address

if TYPE_CHECKING:
    from .onnx.encoder import OnnxEncoder
    from .onnx.providers.options import ExecutionOptions
    from .remote.address import RemoteAccess
    from .remote.encoder import RemoteEncoder
    from .rerankers.onnx_reranker import OnnxReranker
    from .rerankers.remote_reranker import RemoteReranker


def load(  # noqa: PLR0913 - each is one thing that a user may say about what runs
    path: str | Path,
    *,
    provider: str = "auto",
    precision: str = "auto",
    runtime: ExecutionOptions | None = None,
    dim: int | None = None,
    allow_any_dim: bool = False,
    allow_uncertified: bool = False,
    access: RemoteAccess | None = None,
) -> OnnxEncoder:
    """Open a bundle for encoding. Needs no network and no torch.

    An address, ``http(s)://…``, opens the bundle that ``decant serve`` has there: what comes back
    is a :class:`RemoteEncoder`, which gives the same vectors and has everything that ``Encoder``
    promises. The annotation is that of folders, because a type checker cannot tell an address from
    a path; typed programs call :meth:`RemoteEncoder.connect` for addresses.

    Args:
        path: A folder that :func:`decant.export.export` or ``decant export`` made, or an address.
            Of several with commas in between, the next is asked when one gives no answer.
        provider: ``cpu``, ``openvino``, ``cuda`` … or a full name; ``auto`` takes the best one
            that really opens: a GPU's before the processor's, or what ``decant tune`` measured as
            fastest on this machine. OpenVINO is taken only for what is certified on it.
        precision: ``fp32``, ``int8`` …; ``auto`` takes the fastest that is certified on the
            provider with a mean cosine of at least 0.995 and nine of ten nearest neighbours kept:
            the fastest measured on this machine, or else int8, then OpenVINO's bf16, then fp32. A
            precision without a graph of its own (that bf16) also needs a worst cosine of 0.9999.
            ``encoder.choice`` says what runs, why, and what does not run and why.
        runtime: How hard to use the machine; None takes the result of ``decant tune`` for this
            graph and machine, or else defaults for the provider and the cores. Not for an address.
        dim: Keep only this many leading values of each vector and normalise again, for models that
            were trained for it (Matryoshka, arXiv 2205.13147); the encoder's recipe and its digest
            contain the new width. None, or the bundle's own width, keeps all.
        allow_any_dim: Cut also a model that was not trained for it, or shorter than it was.
        allow_uncertified: Run a graph that has no certificate on this provider, or failed it; take
            a server whose golden vectors are others.
        access: For an address: key, certificates and timeout; None takes the key of the environment
            variable ``DECANT_API_KEY``, if it is set.

    Raises:
        BundleError: The bundle is missing, damaged, altered, or of a newer format; a file that
            decides vectors has no hash in it, or lies outside it; its graph lacks outputs of the
            recipe; or the recipe or tokenizer of a server gives something else here.
        ProviderError: The provider is unknown, not installed, or does not start; or, as
            :class:`RemoteError`, a server gives no encoder.
        ParityError: The graph is not certified on this provider, or failed; or a server gives other
            vectors than the golden ones.
        RecipeError: The model cannot be cut to ``dim``, or was not trained to be.
    """
    if isinstance(path, str) and is_address(path):
        from .remote.encoder import RemoteEncoder

        _check_no_runtime(path, runtime)
        remote = RemoteEncoder.connect(
            path,
            access=access,
            dim=dim,
            allow_any_dim=allow_any_dim,
            allow_uncertified=allow_uncertified,
        )
        try:
            _check_what_runs(remote, provider, precision)
        except ProviderError:
            remote.close()
            raise
        return cast("OnnxEncoder", remote)  # see above: paths keep the type that they have had
    _check_no_access(path, access)
    from .onnx.encoder import load_bundle

    return load_bundle(
        path,
        provider=provider,
        precision=precision,
        runtime=runtime,
        dim=dim,
        allow_any_dim=allow_any_dim,
        allow_uncertified=allow_uncertified,
    )


def load_reranker(
    path: str | Path,
    *,
    provider: str = "auto",
    precision: str = "auto",
    runtime: ExecutionOptions | None = None,
    allow_uncertified: bool = False,
    access: RemoteAccess | None = None,
) -> OnnxReranker:
    """Open the bundle of a reranker. Needs no network and no torch.

    An address opens the reranker that ``decant serve`` has there: what comes back is a
    :class:`RemoteReranker`, which gives the same scores. The annotation is that of folders, as for
    :func:`load`; typed programs call :meth:`RemoteReranker.connect` for addresses.

    Args:
        path: A folder that :func:`decant.export.export` or ``decant export`` made of a reranker, or
            an address. Of several with commas in between, the next is asked when one gives no
            answer.
        provider: As for :func:`load`.
        precision: As for :func:`load`; ``auto`` takes the fastest that is certified on the provider
            and keeps the order of passages: a Kendall tau to float32 of at least 0.95, and at most
            0.01 of nDCG lost.
        runtime: As for :func:`load`.
        allow_uncertified: Run a graph that has no certificate on this provider, or failed it.
        access: As for :func:`load`.

    Raises:
        BundleError: The bundle is missing, damaged, altered, of a newer format, or an encoder's; or
            the recipe of a server gives something else here.
        ProviderError: The provider is unknown, not installed, or does not start; or, as
            :class:`RemoteError`, a server gives no reranker.
        ParityError: The graph is not certified on this provider, or failed.
    """
    if isinstance(path, str) and is_address(path):
        from .rerankers.remote_reranker import RemoteReranker

        _check_no_runtime(path, runtime)
        remote = RemoteReranker.connect(path, access=access)
        try:
            _check_what_runs(remote, provider, precision)
        except ProviderError:
            remote.close()
            raise
        return cast("OnnxReranker", remote)  # as in load()
    _check_no_access(path, access)
    from .rerankers.onnx_reranker import load_reranker_bundle

    return load_reranker_bundle(
        path,
        provider=provider,
        precision=precision,
        runtime=runtime,
        allow_uncertified=allow_uncertified,
    )


def _check_no_runtime(path: str, runtime: ExecutionOptions | None) -> None:
    """Refuse settings of this machine for a model that runs on another one."""
    if runtime is not None:
        raise ProviderError(
            f"runtime= is for this machine, and the model of {path} runs on another; leave it out, "
            "and tune the server"
        )


def _check_no_access(path: str | Path, access: RemoteAccess | None) -> None:
    """Refuse what lets in to a server where a folder is opened."""
    if access is not None:
        raise ProviderError(
            f"access= is for the address of a server, and {str(path)!r} is a folder; leave it out"
        )


def _check_what_runs(remote: RemoteEncoder | RemoteReranker, provider: str, precision: str) -> None:
    """Refuse a server that runs something else than was asked for.

    Raises:
        ProviderError: Says what runs there.
    """
    runs = remote.provider.lower().removesuffix("executionprovider")
    wanted = provider.lower().removesuffix("executionprovider")
    if wanted not in ("auto", runs):
        raise ProviderError(
            f"asked for provider {provider!r}, and {remote.address} runs on {remote.provider}; "
            "leave the provider out, or ask a server that has it"
        )
    if precision not in ("auto", str(remote.precision)):
        raise ProviderError(
            f"asked for precision {precision!r}, and {remote.address} runs {remote.precision}; "
            "leave the precision out, or ask a server that has it"
        )
