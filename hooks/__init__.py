"""Who else knocks: callbacks of WeChat and the probes of whoever runs the servers."""
