"""The only room that imports flwr: what runs inside a ClientApp and a ServerApp."""
