"""Black-box conformance of any OCI runtime; imports nothing of ocirt."""
