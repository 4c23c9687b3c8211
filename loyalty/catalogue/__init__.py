"""What is sold: categories, products, SKUs and their stock."""
