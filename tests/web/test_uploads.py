"""Uploads arrive whole or not at all, under names of our own, whatever a browser says about them."""

import asyncio
import json
import os
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

aiohttp = pytest.importorskip("aiohttp")

from aiohttp import ClientSession, FormData  # noqa: E402
from door_kit import Door, opened_door, play, sentence  # noqa: E402

from fedliver.web.uploads import UploadLimits, suffix_of  # noqa: E402

SMALL = UploadLimits(total=100_000, files=50, disk_left=0, stalled_seconds=30)


def _files(*files: tuple[str, bytes]) -> FormData:
    form = FormData(quote_fields=False)
    for name, content in files:
        form.add_field("files", content, filename=name, content_type="application/octet-stream")
    return form


def _left(door: Door) -> list[str]:
    return sorted(path.relative_to(door.made[0].inbox).as_posix() for path in door.made[0].inbox.rglob("*"))


async def _raw(door: Door, user: ClientSession, head: str, *pieces: bytes, hang_up: bool = False) -> bytes:
    """Speak HTTP by hand; what the door answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.front.address.port)
    cookie = next(iter(user.cookie_jar))
    lines = (
        f"POST /upload HTTP/1.1\r\nHost: 127.0.0.1:{door.front.address.port}\r\nOrigin: {door.home}\r\nCookie: {cookie.key}={cookie.value}\r\n{head}\r\n\r\n"
    )
    writer.write(lines.encode("latin-1"))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    try:
        if hang_up:
            return b""
        answered = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in answered.splitlines() if line.lower().startswith(b"content-length"))
        return answered + await reader.readexactly(length)
    finally:
        writer.transport.abort()


MULTIPART = "Content-Type: multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="ct.nii.gz"\r\n\r\n'


def test_a_folder_of_many_files_arrives_whole_under_names_of_our_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            contents = [os.urandom(size) for size in (0, 1, 3000, 2 << 20)]
            form = _files(*((f"DOE^JOHN/IM{number}", content) for number, content in enumerate(contents)), ("a/CT.NII.GZ", b"x"), ("scan.DCM", b"y"))
            form.add_field("remark", "not a file")
            async with user.post("/upload", data=form, headers=door.origin) as answer:
                assert answer.status == 200, await answer.text()
                name = (await answer.json())["upload"]
            folder = door.made[0].inbox / name
            assert [path.name for path in sorted(folder.iterdir())] == ["00001", "00002", "00003", "00004", "00005.nii.gz", "00006.dcm"]
            assert [(folder / f"{number:05d}").read_bytes() for number in range(1, 5)] == contents
            assert _left(door)[0] == name
            assert not list(tmp_path.rglob("*DOE*"))

    play(scenario())


@pytest.mark.parametrize(
    "name",
    [
        "../../x.nii",
        "..\\..\\x.nii",
        "/etc/cron.d/x.nii",
        "C:\\Windows\\x.nii",
        "x\x00.nii",
        "a" * 5000 + ".nii",
        "",
        ".",
        "..",
        ".nii",
        "x.nii\r\nContent-Type: evil",
        "%2e%2e%2fx.nii",
        "‮iin.x",
        "~/.ssh/authorized_keys",
        "x.sh",
        "x.py.nii.gz",
    ],
)
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path / "deep" / "er") as door:
            user = await door.user()
            before = sorted(str(path) for path in tmp_path.rglob("*"))
            body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode() + b'"\r\n\r\nx\r\n--b--\r\n'
            answer = await _raw(door, user, f"{MULTIPART}\r\nContent-Length: {len(body)}", body)
            inside = _left(door)
            if answer.startswith(b"HTTP/1.1 200"):
                folder, file = inside
                assert Path(file).parent == Path(folder)
                assert Path(file).name in ("00001", "00001.nii", "00001.nii.gz")
            else:
                assert answer.startswith(b"HTTP/1.1 400"), answer
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["sentence"]
                assert inside == []
            outside = {str(path) for path in tmp_path.rglob("*")} - {str(door.made[0].inbox / path) for path in inside}
            assert outside == set(before)

    play(scenario())


def test_only_a_known_suffix_is_kept() -> None:
    names = {"a.NII.gz": ".nii.gz", "a.nii": ".nii", "a.seg.nrrd": ".nrrd", "a.mha": ".mha", "a.dcm": ".dcm", "a.gz": "", "a.mhd": "", "a.nii.gz.exe": ""}
    assert {name: suffix_of(name) for name in names} == names
    assert suffix_of(None) == ""


def test_what_is_too_large_by_its_own_account_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path, uploads=SMALL) as door:
            user = await door.user()
            answer = await _raw(door, user, f"{MULTIPART}\r\nContent-Length: 100001")
            assert answer.startswith(b"HTTP/1.1 413")
            assert b"more than 0.1 MB at once" in answer
            assert _left(door) == []

    play(scenario())


def test_the_ordinary_limit_is_two_gigabytes_and_the_page_can_ask_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            async with user.get("/upload") as answer:
                assert await answer.json() == {
                    "bytes": 2_000_000_000,
                    "files": 20_000,
                    "too_large": "That is more than 2 GB at once: send one series, or one file, at a time.",
                    "too_many": "That is more than 20000 files at once: send one series at a time.",
                }
            answer = await _raw(door, user, f"{MULTIPART}\r\nContent-Length: 2147483648")
            assert b"That is more than 2 GB at once" in answer

    play(scenario())


def test_what_says_nothing_of_its_size_is_counted_while_it_comes_and_memory_stays_flat(tmp_path: Path) -> None:
    limit = 96 << 20

    async def scenario() -> None:
        async with opened_door(tmp_path, uploads=UploadLimits(total=limit, disk_left=0)) as door:
            user = await door.user()
            piece = bytes(1 << 20)
            sent = 0

            async def endless() -> AsyncIterator[bytes]:
                nonlocal sent
                yield PART
                while sent < 4 * limit:
                    sent += len(piece)
                    yield piece

            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            headers = {**door.origin, "Content-Type": "multipart/form-data; boundary=b"}
            try:
                async with user.post("/upload", data=endless(), headers=headers) as answer:
                    assert answer.status == 413
                    assert "at once" in await sentence(answer)
            except aiohttp.ClientError:
                pass  # the door hung up while we were still sending
            assert limit <= sent < 3 * limit
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32_000, "kilobytes: a third of what was sent"
            assert _left(door) == []

    play(scenario())


def test_too_many_files_are_refused_in_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path, uploads=UploadLimits(files=200, disk_left=0)) as door:
            user = await door.user()
            async with user.post("/upload", data=_files(*(("IM", b"x"),) * 201), headers=door.origin) as answer:
                assert answer.status == 413
                assert "more than 200 files at once" in await sentence(answer)
            assert _left(door) == []

    play(scenario())


def test_ten_thousand_files_are_no_more_than_a_long_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedliver.files._sync", lambda path: None)  # this test is about their number, not about the disk

    def body() -> Iterator[bytes]:
        for number in range(10_000):
            yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="IM%d"\r\n\r\n%d\r\n' % (number, number)
        yield b"--b--\r\n"

    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            headers = {**door.origin, "Content-Type": "multipart/form-data; boundary=b"}
            async with user.post("/upload", data=b"".join(body()), headers=headers) as answer:
                folder = door.made[0].inbox / (await answer.json())["upload"]
            assert len(list(folder.iterdir())) == 10_000
            assert (folder / "10000").read_bytes() == b"9999"

    play(scenario())


@pytest.mark.parametrize(
    ("head", "body"),
    [
        pytest.param(f"{MULTIPART}\r\nContent-Length: 500", PART + b"cut", id="Content-Length says more than comes"),
        pytest.param(f"{MULTIPART}\r\nContent-Length: 90", PART + b"x" * 400 + b"\r\n--b--\r\n", id="Content-Length says less than comes"),
        pytest.param(f"{MULTIPART}\r\nContent-Length: -5", PART, id="negative Content-Length"),
        pytest.param(f"{MULTIPART}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n", id="two lengths"),
        pytest.param(f"{MULTIPART}\r\nTransfer-Encoding: chunked", b"zz\r\n", id="chunk without a size"),
        pytest.param(f"{MULTIPART}\r\nContent-Length: {len(PART) + 2}", PART + b"ab", id="no closing boundary"),
        pytest.param(f"{MULTIPART}\r\nContent-Length: {len(PART) + 9}", PART + b"ab\r\n--b\r\n", id="ends after a boundary"),
        pytest.param(f"{MULTIPART}\r\nContent-Length: 7", b"garbage", id="garbage"),
        pytest.param(f"{MULTIPART}\r\nContent-Length: 0", b"", id="nothing"),
        pytest.param(f"{MULTIPART}\r\nContent-Length: 9", b"--b--\r\n\r\n", id="no file"),
        pytest.param("Content-Type: multipart/form-data\r\nContent-Length: 3", b"abc", id="no boundary"),
        pytest.param("Content-Type: multipart/mixed; boundary=b\r\nContent-Length: 3", b"abc", id="another multipart"),
        pytest.param("Content-Type: application/json\r\nContent-Length: 2", b"{}", id="JSON"),
        pytest.param(f"{MULTIPART}\r\nContent-Encoding: gzip\r\nContent-Length: 3", b"abc", id="compressed"),
        pytest.param(
            f"{MULTIPART}\r\nContent-Length: 98",
            b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n\r\n--b--\r\n" + b" " * 40,
            id="nested",
        ),
        pytest.param(f"{MULTIPART}\r\nContent-Length: 70020", b"--b\r\nX: " + b"y" * 70_000 + b"\r\n\r\n\r\n\r\n\r\n", id="endless header"),
    ],
)
def test_a_lie_or_nonsense_leaves_nothing_and_the_next_upload_works(tmp_path: Path, head: str, body: bytes) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path, uploads=UploadLimits(disk_left=0, stalled_seconds=1)) as door:
            user = await door.user()
            answer = await _raw(door, user, head, body)
            assert not answer.startswith(b"HTTP/1.1 200"), answer
            assert b"HTTP/1.1 500" not in answer
            async with user.post("/upload", data=_files(("ct.nii", b"x")), headers=door.origin) as good:
                assert good.status == 200, await good.text()
                name = (await good.json())["upload"]
            assert _left(door) == [name, f"{name}/00001.nii"]

    play(scenario())


def test_an_upload_whose_connection_breaks_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            await _raw(door, user, f"{MULTIPART}\r\nContent-Length: 5000000", PART, bytes(3_000_000), hang_up=True)
            while (uploading := next(iter(door.front.users._users.values())).uploading) or _left(door):
                await asyncio.sleep(0.02)
            assert not uploading

    play(scenario())


def test_an_upload_that_stands_still_is_dropped_in_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path, uploads=UploadLimits(disk_left=0, stalled_seconds=0.3)) as door:
            user = await door.user()
            answer = await _raw(door, user, f"{MULTIPART}\r\nContent-Length: 5000", PART + b"abc")
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"stood still for too long" in answer
            assert _left(door) == []

    play(scenario())


def test_a_slow_upload_arrives_and_a_second_one_waits_its_turn(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user, other = await door.user(), await door.user()
            more = asyncio.Event()

            async def slow() -> AsyncIterator[bytes]:
                yield PART
                await more.wait()
                for piece in b"content\r\n--b--\r\n":
                    yield bytes([piece])

            headers = {**door.origin, "Content-Type": "multipart/form-data; boundary=b"}
            first = asyncio.create_task(user.post("/upload", data=slow(), headers=headers))
            while not next(iter(door.front.users._users.values())).uploading:
                await asyncio.sleep(0.01)
            async with user.post("/upload", data=_files(("x", b"x")), headers=door.origin) as second:
                assert second.status == 429
            async with other.post("/upload", data=_files(("x", b"x")), headers=door.origin) as anothers:
                assert anothers.status == 200
            more.set()
            async with await first as answer:
                name = (await answer.json())["upload"]
            assert (door.made[0].inbox / name / "00001.nii.gz").read_bytes() == b"content"
            assert len(list(door.made[1].inbox.iterdir())) == 1, "the other's went to the other's inbox"

    play(scenario())


def test_a_disk_that_is_nearly_full_refuses_before_and_while_reading(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path, uploads=UploadLimits(disk_left=10)) as door:
            user = await door.user()
            uploads = door.front.uploads
            uploads.free = lambda folder: 100
            answer = await _raw(door, user, f"{MULTIPART}\r\nContent-Length: 91")
            assert answer.startswith(b"HTTP/1.1 507")
            rooms = iter([1 << 40, 9])
            uploads.free = lambda folder: next(rooms)
            async with user.post("/upload", data=_files(("x", bytes(65 << 20))), headers=door.origin) as late:
                assert late.status == 507
                assert "nearly full" in await sentence(late)
            assert _left(door) == []

    play(scenario())


def test_a_disk_that_is_full_says_so_and_keeps_nothing(tmp_path: Path) -> None:
    """A real refusal of the operating system: no file may be larger than 1 MB here."""

    async def scenario() -> None:
        async with opened_door(tmp_path, uploads=UploadLimits(disk_left=0)) as door:
            user = await door.user()
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
            try:
                async with user.post("/upload", data=_files(("x", bytes(3 << 20))), headers=door.origin) as answer:
                    assert answer.status == 507
                    assert "The disk is full" in await sentence(answer)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert _left(door) == []

    play(scenario())


def test_when_the_door_closes_in_the_middle_of_an_upload_nothing_hangs_and_nothing_is_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened_door(tmp_path) as door:
            user = await door.user()
            never = asyncio.Event()

            async def endless() -> AsyncIterator[bytes]:
                yield PART + b"abc"
                await never.wait()

            sending = asyncio.create_task(user.post("/upload", data=endless(), headers={**door.origin, "Content-Type": "multipart/form-data; boundary=b"}))
            while not _left(door):
                await asyncio.sleep(0.01)
        sending.cancel()
        await asyncio.wait([sending])
        while _left(door):
            await asyncio.sleep(0.02)

    play(scenario())
