"""How goods reach the member: fees, parcels, picking up, and what WeChat is told."""
