"""What our pages ask of curl, for machines that have only Python: an answer, of a POST where there is data."""

import sys
import urllib.request


def main(arguments: list[str]) -> None:
    headers: dict[str, str] = {}
    url, data = "", ""
    words = iter(arguments)
    for word in words:
        match word:
            case "--silent":
                pass
            case "--header":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "--data":
                data = next(words)
            case _:
                assert word.startswith("http://"), word
                url = word
    request = urllib.request.Request(url, data.encode() or None, headers)  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        sys.stdout.write(response.read().decode())


main(sys.argv[1:])
