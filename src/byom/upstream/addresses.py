"""What an IP address is: its class, and the IPv4 addresses that an IPv6 address carries inside."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Literal, TypeAlias

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressClass = Literal["public", "private", "loopback", "link-local", "reserved", "multicast", "metadata"]

_CLASSES: tuple[tuple[AddressClass, tuple[str, ...]], ...] = (
    (
        "metadata",
        (
            "169.254.169.254/32",  # AWS, Google, Azure, DigitalOcean, OpenStack, Oracle
            "169.254.170.0/24",  # AWS container and pod credentials
            "169.254.0.23/32",  # Tencent
            "168.63.129.16/32",  # Azure's host agent
            "100.100.100.200/32",  # Alibaba
            "192.0.0.192/32",  # Oracle, older
            "fd00:ec2::/32",  # AWS
            "fd20:ce::254/128",  # Google
        ),
    ),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    (
        "private",
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",  # carrier-grade NAT, and what many VPNs hand out
            "198.18.0.0/15",
            "fc00::/7",
            "fec0::/10",
        ),
    ),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("reserved", ("0.0.0.0/8", "192.0.0.0/24", "240.0.0.0/4", "::/128", "100::/64")),
)
_NETWORKS = tuple((name, tuple(map(ipaddress.ip_network, networks))) for name, networks in _CLASSES)

_METADATA_NAMES = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "metadata.azure.internal",
        "metadata.tencentyun.com",
        "metadata.oraclecloud.com",
        "instance-data",
        "instance-data.ec2.internal",
    }
)
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}", re.IGNORECASE)
_V4_AT: tuple[tuple[str, int], ...] = (
    ("::ffff:0:0/96", 12),  # IPv4-mapped
    ("::ffff:0:0:0/96", 12),  # IPv4-translated (SIIT)
    ("::/96", 12),  # IPv4-compatible
    ("64:ff9b::/96", 12),  # NAT64
    ("2002::/16", 2),  # 6to4
    ("2001::/32", 4),  # Teredo: the server
)
_EMBEDDINGS = tuple((ipaddress.IPv6Network(network), offset) for network, offset in _V4_AT)
_TEREDO = ipaddress.IPv6Network("2001::/32")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_OWN_V6 = (ipaddress.IPv6Address("::"), ipaddress.IPv6Address("::1"))


def is_metadata_name(host: str) -> bool:
    return host.rstrip(".").lower() in _METADATA_NAMES


def literal(host: str) -> IPAddress | None:
    """The address that ``host`` *is*, in every form the operating system reads: also ``2130706433`` or ``0x7f.1``."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if not _NUMERIC.fullmatch(host):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def embedded(address: IPAddress) -> tuple[ipaddress.IPv4Address, ...]:
    """IPv4 addresses that packets to this IPv6 address may end at."""
    if isinstance(address, ipaddress.IPv4Address) or address in _OWN_V6:
        return ()
    packed = address.packed
    found = [ipaddress.IPv4Address(packed[at : at + 4]) for network, at in _EMBEDDINGS if address in network]
    if address in _TEREDO:
        found.append(ipaddress.IPv4Address(bytes(byte ^ 0xFF for byte in packed[12:])))
    if address in _LOCAL_NAT64:
        # The operator chooses the prefix length (RFC 6052), so each possible place is looked at; those that hold
        # 0.x.x.x are padding.
        places = (packed[12:], packed[6:8] + packed[9:11], packed[7:8] + packed[9:12], packed[9:13])
        found.extend(ipaddress.IPv4Address(place) for place in places if place[0])
    if packed[8:12] in (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe"):  # ISATAP
        found.append(ipaddress.IPv4Address(packed[12:]))
    return tuple(found)


def own_class(address: IPAddress) -> AddressClass:
    """The class of the address itself, whatever it carries inside."""
    for name, networks in _NETWORKS:
        if any(address.version == network.version and address in network for network in networks):
            return name
    return "public"


def classes(address: IPAddress) -> tuple[tuple[AddressClass, IPAddress], ...]:
    """The class of the address and of each address embedded in it, with the address that gave it."""
    inner = embedded(address)
    # An address that only wraps another has no class of its own: ::ffff:10.0.0.1 is what 10.0.0.1 is.
    outer = own_class(address)
    wrapped: tuple[tuple[AddressClass, IPAddress], ...] = tuple((own_class(one), one) for one in inner)
    return wrapped if inner and outer == "public" else ((outer, address), *wrapped)
