"""What runs elsewhere than the server; each folder is deployed by itself and imports nothing of ours."""
