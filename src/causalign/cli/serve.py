"""``causalign serve``: answer trainers by a reward model, over HTTP."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli.output import give, note, say


def command(
    model: Annotated[Path, typer.Argument(help="Folder of a reward model.")],
    host: Annotated[
        str,
        typer.Option(help="Address to listen at; one that others reach needs a token."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8017,
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A limit: texts=256, request_bytes=1000000, requests_a_second=50, seconds=10, "
            "waiting_bytes, waiting_requests, connections (repeatable).",
        ),
    ] = None,
) -> None:
    """Serve a reward model to trainers: OpenRLHF, verl, TRL, GEPA, DSPy, or whoever asks by HTTP.

    `POST /score` and `/assess` take `{"completions": [...], "prompts": [...]}`, `/get_reward` takes
    what OpenRLHF sends; `GET /health`, `/metrics` (Prometheus), `/model` and `/openapi.json` tell
    of the server. Whoever asks must bear the token in the environment variable `CAUSALIGN_TOKEN`,
    if it is set. No text is kept or logged. Ctrl-C ends it.

    Example: `causalign serve runs/reward/model --port 8017`
    """
    asked = ca.config.construct(ca.reward.ServerLimits, ca.config.override({}, limits or ()))
    token = os.environ.get("CAUSALIGN_TOKEN") or None
    reward = ca.reward.RewardModel.load(model)
    server = ca.reward.RewardServer(reward, host=host, port=port, limits=asked, token=token)
    say(f"{model} {reward.card_lines()[0]}")
    say(f"listening at {server.address}, {'with' if token else 'without'} a token; Ctrl-C ends it")
    note(f"try: {_example(server.address, bool(token), reward.reads_prompt)}")
    server.run()
    say("stopped: what was asked before is answered")
    give(address=server.address)


def _example(address: str, has_token: bool, reads_prompt: bool) -> str:
    """Return a line for a shell that asks for the reward of a text."""
    prompts = ', "prompts": ["What it answers."]' if reads_prompt else ""
    body = shlex.quote(f'{{"completions": ["A text."]{prompts}}}')
    token = '-H "Authorization: Bearer $CAUSALIGN_TOKEN" ' if has_token else ""
    return f"curl {address}/assess -H 'Content-Type: application/json' {token}-d {body}"
