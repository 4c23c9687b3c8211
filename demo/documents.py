"""What the story asks for: documents of the shop's door, and then of the operators'."""

REFUSED = "... on Refusal { code message }"

# Members

LOGIN = f"""mutation ($code: String!) {{ sessionLogin(code: $code) {{
  __typename ... on SessionLoginPayload {{ accessToken }} {REFUSED} }} }}"""
HOME = "{ memberHome { tier { level { name } growthValue missing } points { balance available held debt } } }"
CHECK_IN = f"""mutation ($key: IdempotencyKey!) {{ checkIn(idempotencyKey: $key) {{
  __typename ... on CheckInDone {{ checkIn {{ points growth streakDays }} }} {REFUSED} }} }}"""
COUPONS = "{ coupons(first: 10, state: ISSUED) { nodes { title } } }"
PRODUCTS = "{ products(first: 50) { nodes { title skus { id title price stockLeft priceNow { price } } } } }"
PICK_UP_POINTS = "{ pickUpPoints(first: 1) { nodes { id name } } }"
PICK_UP_CODE = f"""mutation ($id: ID!) {{ pickUpCode(orderId: $id) {{
  __typename ... on PickUpCode {{ code }} {REFUSED} }} }}"""
ADDRESS = f"""mutation ($input: AddressInput!, $key: IdempotencyKey!) {{
  addressCreate(input: $input, idempotencyKey: $key) {{
    __typename ... on AddressKept {{ address {{ id }} }} {REFUSED} }} }}"""
CART_ADD = f"""mutation ($sku: ID!, $quantity: Int!, $key: IdempotencyKey!) {{
  cartAdd(skuId: $sku, quantity: $quantity, idempotencyKey: $key) {{
    __typename ... on CartChanged {{ cart {{ pieces }} }} {REFUSED} }} }}"""
CART = f"""query ($address: ID!, $points: Points) {{
  cart {{ quote(addressId: $address, bestCoupons: true, points: $points) {{
    __typename
    ... on OrderQuote {{
      goods discount promotionAmount couponAmount pointsAmount shipping payable
      hints {{ kind title missing saves }} }}
    {REFUSED} }} }} }}"""
PLACE = f"""mutation ($input: OrderPlaceInput!, $key: IdempotencyKey!) {{
  orderPlace(input: $input, idempotencyKey: $key) {{
    __typename ... on OrderPlaced {{ order {{ id number payable }} }} {REFUSED} }} }}"""
PAY = f"""mutation ($id: ID!) {{ orderPay(orderId: $id) {{
  __typename ... on PaymentRequested {{ timeStamp nonceStr package signType paySign }} {REFUSED} }} }}"""
CART_LINES = "{ cart { lines { skuId quantity } } }"
ORDER_LINES = "query ($id: ID!) { order(id: $id) { lines { id quantity } } }"
ORDER = "query ($id: ID!) { order(id: $id) { state fulfilment payable refunded } }"
RECEIPT = f"""mutation ($id: ID!) {{ orderConfirmReceipt(orderId: $id) {{
  __typename ... on OrderChanged {{ order {{ fulfilment }} }} {REFUSED} }} }}"""
EFFECT = """digest cash shipping pointsBack { lotId amount expiresAt renewed } couponsBack { couponId expiresAt }
  pointsTaken pointsOwed pointsForgiven growthTaken tierBefore tierAfter stockBack { skuId quantity }"""
REFUND_PREVIEW = f"""query ($id: ID!, $lines: [RefundLineInput!]) {{
  afterSalePreview(orderId: $id, lines: $lines, kind: RETURN_AND_REFUND, reason: QUALITY) {{
    __typename ... on RefundEffect {{ {EFFECT} }} {REFUSED} }} }}"""
REFUND_PARTS = f"query ($id: ID!) {{ order(id: $id) {{ refunded refundParts {{ state effect {{ {EFFECT} }} }} }} }}"
ASK_REFUND = f"""mutation ($id: ID!, $input: AfterSaleInput!, $key: IdempotencyKey!) {{
  afterSaleRequest(orderId: $id, input: $input, idempotencyKey: $key) {{
    __typename ... on AfterSaleChanged {{ afterSale {{ id }} }} {REFUSED} }} }}"""
SEND_BACK = f"""mutation ($id: ID!, $number: String!) {{ afterSaleSendBack(id: $id, carrier: "SF", number: $number) {{
  __typename ... on AfterSaleChanged {{ afterSale {{ id }} }} {REFUSED} }} }}"""
FLASH_SALES = """{ flashSales(first: 50) { nodes {
  title serverTime opensForYouAt closesAt items { id productTitle price listPrice left } } } }"""
FLASH_PURCHASE = f"""mutation ($input: FlashSalePurchaseInput!, $key: IdempotencyKey!) {{
  flashSalePurchase(input: $input, idempotencyKey: $key) {{
    __typename ... on FlashSalePurchased {{ order {{ id number payable }} }} {REFUSED} }} }}"""
ADDRESS_SET = f"""mutation ($id: ID!, $address: ID!) {{ orderAddressSet(orderId: $id, addressId: $address) {{
  __typename ... on OrderAddressSet {{ order {{ id }} }} {REFUSED} }} }}"""
GROUP_BUYS = """{ groupBuys(first: 50) { nodes {
  title opensAt serverTime items { id productTitle listPrice prices { size price } } } } }"""
GROUP_OPEN = f"""mutation ($input: GroupWishInput!, $size: Int!, $key: IdempotencyKey!) {{
  groupBuyOpen(input: $input, size: $size, idempotencyKey: $key) {{
    __typename ... on GroupSeatHeld {{ order {{ id number payable }} seat {{ team {{ token }} }} }} {REFUSED} }} }}"""
GROUP_JOIN = f"""mutation ($input: GroupWishInput!, $token: String!, $key: IdempotencyKey!) {{
  groupBuyJoin(input: $input, token: $token, idempotencyKey: $key) {{
    __typename ... on GroupSeatHeld {{ order {{ id number payable }} seat {{ team {{ token }} }} }} {REFUSED} }} }}"""
TEAM = "query ($token: String!) { groupTeam(token: $token) { state size joinedCount freeCount } }"

# Operators

OPERATOR_LOGIN = f"""mutation ($login: String!, $password: String!) {{
  operatorLogin(login: $login, password: $password) {{
    __typename ... on OperatorSession {{ accessToken }} {REFUSED} }} }}"""
PICK_UP_READY = f"""mutation ($id: ID!) {{ pickUpReady(orderId: $id) {{
  __typename ... on OrderHandled {{ order {{ id }} }} {REFUSED} }} }}"""
PICK_UP_VERIFY = f"""mutation ($code: String!, $key: IdempotencyKey!) {{
  pickUpVerify(code: $code, idempotencyKey: $key) {{
    __typename ... on OrderHandled {{ order {{ id }} }} {REFUSED} }} }}"""
PARCEL = f"""mutation ($input: ParcelCreateInput!, $key: IdempotencyKey!) {{
  parcelCreate(input: $input, idempotencyKey: $key) {{
    __typename ... on ParcelKept {{ parcel {{ id }} }} {REFUSED} }} }}"""
APPROVE = f"""mutation ($id: ID!, $key: IdempotencyKey!) {{ afterSaleApprove(id: $id, idempotencyKey: $key) {{
  __typename ... on AfterSaleDecided {{ afterSale {{ id }} }} {REFUSED} }} }}"""
RECEIVE = f"""mutation ($id: ID!, $expected: String, $key: IdempotencyKey!) {{
  afterSaleReceive(id: $id, expected: $expected, idempotencyKey: $key) {{
    __typename ... on AfterSaleDecided {{ afterSale {{ id }} }} {REFUSED} }} }}"""
REFUND = f"""mutation ($id: ID!, $key: IdempotencyKey!) {{
  orderRefund(orderId: $id, reason: "demo", idempotencyKey: $key) {{
    __typename ... on OrderRefunded {{ order {{ id }} }} {REFUSED} }} }}"""
CASES = "{ exceptionCases(first: 50) { nodes { id cause } } }"
