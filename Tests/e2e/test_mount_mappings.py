"""Files of a mount that are mapped into memory: in a process of their own, see DeployedServer."""

from mountkit import python, read
from servercalls import pattern
from serverkit import poll

MAPPED = """
descriptor = os.open(sys.argv[1], os.O_RDWR)
size = os.fstat(descriptor).st_size
mapping = mmap.mmap(descriptor, size, mmap.MAP_SHARED)
"""


def test_a_mapping_reads_the_files_bytes(content, mount):
    data = pattern(1_000_003)
    content.write("f", data)
    code = MAPPED + "sys.stdout.buffer.write(mapping[:])"
    assert python(code, mount / "f", text=False) == data


def test_what_was_written_to_a_mapping_and_synced_is_on_the_server_after_close(content, mount):
    content.write("f", pattern(500_000))
    python(MAPPED + """
mapping[123_456:123_463] = b"changed"
mapping.flush()
os.fsync(descriptor)
mapping.close()
os.close(descriptor)
""", mount / "f")
    wanted = bytearray(pattern(500_000))
    wanted[123_456:123_463] = b"changed"
    assert content.read("f") == wanted
    assert read(mount / "f") == wanted


def test_what_was_written_to_a_mapping_after_close_reaches_the_server(content, mount):
    content.write("f", pattern(500_000))
    python(MAPPED + """
os.close(descriptor)
mapping[0:7] = b"changed"
mapping.close()
""", mount / "f")
    wanted = b"changed" + pattern(499_993, start=7)
    poll(lambda: content.read("f") == wanted, what="upload of the mapping's pages")
    assert read(mount / "f") == wanted


def test_a_mapping_and_a_handle_see_each_others_writes(content, mount):
    content.write("f", pattern(100_000))
    python(MAPPED + """
os.pwrite(descriptor, b"by write", 5000)
assert mapping[5000:5008] == b"by write"
mapping[9000:9008] = b"by pages"
assert os.pread(descriptor, 8, 9000) == b"by pages"
mapping.close()
os.close(descriptor)
""", mount / "f")


def test_a_private_mapping_changes_nothing(content, mount):
    content.write("f", pattern(100_000))
    python("""
descriptor = os.open(sys.argv[1], os.O_RDONLY)
mapping = mmap.mmap(descriptor, 100_000, mmap.MAP_PRIVATE)
mapping[0:4] = b"mine"
""", mount / "f")
    assert content.read("f") == pattern(100_000)
