"""How the WeChat platform speaks: clients in WeChat's own words, which know nothing of the shop."""
