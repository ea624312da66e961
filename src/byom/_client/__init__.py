"""The client library's engine room; its public names are in `byom.client`."""
