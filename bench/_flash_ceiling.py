from uuid import UUID
def orders_per_s(url: str, item_id: UUID, *, together: int) -> float:
    return 1.0
