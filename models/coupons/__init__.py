"""Coupons: templates, giving out, holding, gifts, the till, and the newcomer pack."""
