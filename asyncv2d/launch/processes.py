"""Runs shards in loop processes of this machine, which take them as they become free."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Any

import anyio
from msgspec.structs import asdict

from asyncv2d.child import Child
from asyncv2d.launch import protocol
from asyncv2d.launch.launcher import Control, Mission, ShardQueue
from asyncv2d.nursery import StartError
from asyncv2d.progress import merged
from asyncv2d.types import RunError, UserError

_LAST_GOODBYE_S = 10.0
_LONGEST_SILENCE_S = 120.0
_SECOND_THOUGHT_S = 5.0
_MAX_DEATHS_IN_A_ROW = 3
_START_ATTEMPTS = 3


class ProcessesLauncher:
    """Loop processes; one that dies is replaced, and its shards are done again."""

    async def run(self, mission: Mission, shards: ShardQueue, control: Control) -> None:
        """Run all shards."""
        states: dict[int, Mapping[str, Any]] = {}
        places: list[_Place] = []
        async with anyio.create_task_group() as tasks:
            for number in range(mission.job.built.distribution.loop_count):
                if number > 0 and not await shards.has(number + 1):
                    break  # there is no work for more
                place = _Place(number, mission, shards, control, states, places)
                places.append(place)
                tasks.start_soon(place.keep_running)
        if not control.drain.is_set() and await shards.are_left():
            raise RunError("loop processes have ended, and not all shards are done")


class _Place:
    """The place of one loop process, and of those that replace it."""

    def __init__(
        self,
        number: int,
        mission: Mission,
        shards: ShardQueue,
        control: Control,
        states: dict[int, Mapping[str, Any]],
        places: list[_Place],
    ) -> None:
        self._number = number
        self._mission = mission
        self._shards = shards
        self._control = control
        self._states = states
        self._places = places
        self._process: Child | None = None
        self._in_hand: set[int] = set()
        self._begun: set[int] = set()
        self._has_asked = False
        self._may_end = False
        self._heard_at = 0.0
        self._deaths = 0

    async def keep_running(self) -> None:
        """Run loop processes until one ends because there is no more to do."""
        while True:
            self._may_end = False
            code = await self._run_one()
            is_done = self._may_end and not self._in_hand
            if code == 0 and (is_done or self._control.drain.is_set()):
                return
            self._deaths += 1
            await self._return_shards(f"its loop process ended with code {code}")
            if self._deaths >= _MAX_DEATHS_IN_A_ROW:
                raise RunError(f"loop processes keep dying: the last one ended with code {code}")
            self._control.log(f"a loop process ended with code {code}; another one takes its place")

    async def _return_shards(self, reason: str) -> None:
        """The loop process ended: what it had in hand is for others to do."""
        while self._in_hand:
            shard = self._in_hand.pop()
            if shard in self._begun:
                await self._shards.done({"shard": shard, "error": reason})
            else:  # it was given to a process that was dead, or died of something else
                self._shards.put_back(shard)
        self._begun.clear()

    async def _run_one(self) -> int:
        process = await self._start()
        try:
            await self._converse(process)
        finally:
            self._process = None
            await _end(process)
        return process.returncode if process.returncode is not None else -1

    async def _start(self) -> Child:
        for _ in range(_START_ATTEMPTS):
            try:
                return await self._mission.nursery.start()
            except StartError as error:
                reason = str(error)
        raise RunError(f"loop processes cannot be started: {reason}")

    async def _converse(self, process: Child) -> None:
        async with anyio.create_task_group() as tasks:
            await self._send(process, self._greeting())
            self._process = process
            tasks.start_soon(self._pass_on_drain, process)
            tasks.start_soon(self._end_if_silent, tasks.cancel_scope)
            async with aclosing(protocol.messages(process.stdout)) as incoming:
                async for message in incoming:
                    self._heard_at = anyio.current_time()
                    if "want" in message:  # beside: the answer may depend on reports
                        tasks.start_soon(self._give, process)
                    elif "pause" in message:
                        tasks.start_soon(self._pass_on, message)
                    else:
                        await self._handle(message)
            tasks.cancel_scope.cancel()

    async def _end_if_silent(self, scope: anyio.CancelScope) -> None:
        """Give up a loop process that stands still: it would tell its progress twice a second."""
        self._heard_at = anyio.current_time()
        while True:
            await anyio.sleep_until(self._heard_at + _LONGEST_SILENCE_S)
            if self._is_silent():
                # This process may have stood still itself, and now hears what was said meanwhile.
                await anyio.sleep(_SECOND_THOUGHT_S)
            if self._is_silent():
                self._control.log(f"a loop process has said nothing for {_LONGEST_SILENCE_S:g} s")
                scope.cancel()
                return

    def _is_silent(self) -> bool:
        return anyio.current_time() - self._heard_at >= _LONGEST_SILENCE_S

    def _greeting(self) -> dict[str, Any]:
        # Emptied: a loop process that was killed left files.
        spool = self._mission.spool.within(f"loop-{self._number}")
        return {
            "job": self._mission.job.model_dump(mode="json"),
            "folder": str(self._mission.folder),
            "identity": self._mission.identity,
            "spool": spool.to_json(),
        }

    async def _handle(self, message: Mapping[str, Any]) -> None:
        if "report" in message:
            self._deaths = 0
            self._in_hand.discard(message["report"]["shard"])
            self._begun.discard(message["report"]["shard"])
            await self._shards.done(message["report"])
        elif "begun" in message:
            self._begun.add(message["begun"])
        elif "progress" in message:
            self._states[self._number] = message["progress"]
            self._control.progress(merged(self._states.values()))
        elif "outcome" in message:
            if self._control.outcome is not None:
                self._control.outcome(message["outcome"])
        elif "error" in message:
            kind = UserError if message["code"] == UserError.exit_code else RunError
            raise kind(*message["error"])

    async def _give(self, process: Child) -> None:
        self._has_asked = True
        spec = await self._shards.take(self._owed)
        if spec is None:
            self._may_end = True
            await self._send(process, {"end": True})
        else:
            self._in_hand.add(spec.id)
            await self._send(process, {"shard": asdict(spec)})

    def _owed(self) -> int:
        """How many shards this place leaves to others: one to each whose loop is still starting.

        The first loop could take all shards of a short table, and the others have nothing to do.
        """
        return sum(not place._has_asked for place in self._places) if self._in_hand else 0

    async def _pass_on(self, message: Mapping[str, Any]) -> None:
        """Tell all other loops."""
        for place in self._places:
            if place is not self and place._process is not None:
                await self._send(place._process, message)

    async def _pass_on_drain(self, process: Child) -> None:
        await self._control.drain.wait()
        await self._send(process, {"drain": True})

    async def _send(self, process: Child, message: Mapping[str, Any]) -> None:
        # Where it died, its exit code tells, and its shards are done again.
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionError):
            await protocol.send(process.stdin, message)


async def _end(process: Child) -> None:
    """Let the process clean up (its stdin closes), and kill it if it does not."""
    with anyio.CancelScope(shield=True):
        await process.stdin.aclose()
        with anyio.move_on_after(_LAST_GOODBYE_S):
            await process.wait()
        await process.kill()
