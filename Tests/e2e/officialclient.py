"""One call of the official client, as a command: its answer is printed as JSON, its own errors end it.

    ET_ENGINE_API_KEY=… python officialclient.py URL upload FILESYSTEM LOCAL REMOTE

The client takes the service's URL as an argument of `Engine` and the key from the environment, so that nothing of it
has to be changed. It is a process of its own because it reads the key from there, runs an event loop of its own and
writes progress bars.
"""

import json
import sys

from et_engine import Engine


def main(url, call, *arguments):
    filesystems = Engine(url).filesystems
    if call == "create":
        return filesystems.create_filesystem(*arguments).to_json()
    if call == "list":
        return [filesystem.to_json() for filesystem in filesystems.list_filesystems()]
    filesystem, *rest = arguments
    # upload LOCAL REMOTE, download REMOTE LOCAL, ls DIRECTORY, mkdir DIRECTORY, delete PATH.
    return getattr(filesystems.connect(filesystem), call)(*rest)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
