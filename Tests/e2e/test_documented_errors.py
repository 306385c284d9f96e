"""docs/errors.md has each errno that the driver answers with: Sources/VFS/ErrnoMapping.swift says which."""

import re

from serverkit import REPOSITORY

# What Swift calls them.
NAMES = {
    "noSuchFileOrDirectory": "ENOENT", "fileExists": "EEXIST", "isDirectory": "EISDIR", "notDirectory": "ENOTDIR",
    "directoryNotEmpty": "ENOTEMPTY", "fileNameTooLong": "ENAMETOOLONG", "illegalByteSequence": "EILSEQ",
    "invalidArgument": "EINVAL", "notPermitted": "EPERM", "notSupportedOnSocket": "EOPNOTSUPP",
    "improperLink": "EXDEV", "fileTooLarge": "EFBIG", "badFileDescriptor": "EBADF", "staleNFSFileHandle": "ESTALE",
    "ioError": "EIO", "interrupted": "EINTR", "permissionDenied": "EACCES", "noSpace": "ENOSPC",
    "timedOut": "ETIMEDOUT",
}


def test_each_errno_of_the_driver_is_in_the_documented_table():
    source = (REPOSITORY / "Sources/VFS/ErrnoMapping.swift").read_text()
    answered = set(re.findall(r"(?:case [^:\n]*:|^)\s+\.(\w+)$", source, re.M))
    assert len(answered) > 15 and answered <= set(NAMES), answered - set(NAMES)
    rows = re.findall(r"^\| ([A-Z, ]+) \|", (REPOSITORY / "docs/errors.md").read_text(), re.M)
    documented = {name for row in rows for name in row.split(", ")}
    assert {NAMES[name] for name in answered} - documented == set()
