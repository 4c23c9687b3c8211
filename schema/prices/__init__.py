"""What a piece costs: pricing, promotions, and the history of prices."""
