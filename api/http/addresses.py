"""Client addresses, as limits count them."""

from ipaddress import IPv6Address, ip_address

IPV6_HOST_BITS = 64
"""Suffix length by which IPv6 addresses are grouped: a client usually controls a whole /64."""


def client_address(host: str) -> str:
    """Return what stands for a client: its IPv4 address, or the network of its IPv6 address."""
    try:
        address = ip_address(host)
    except ValueError:
        return host  # a unix socket
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> IPV6_HOST_BITS << IPV6_HOST_BITS)}/{128 - IPV6_HOST_BITS}"
    return host
