"""Flash sales: sessions, the gate, the queue and the rehearsal."""
