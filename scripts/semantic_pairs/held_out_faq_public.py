INTENTS = r"""
faq: How long does it take to renew a {x}?
x = passport / driving licence / fishing permit # entity
p I must renew my {x}. When can I expect the new one?
s How much time does the renewal of a {x} take?
r To renew a {x}, how long does it take?
- topic: How much does it cost to renew a {x}?
< constraint: How long does it take to renew a {x} from abroad?
- scope: How long does it take to get a first {x}?
- antonym: How long does it take to revoke a {x}?
- negation: How long may I go without renewing a {x}?
- modality: When must I renew a {x}?

faq: Do I need a permit to {x} my garden?
x = build a shed in / dig a pond in / light a bonfire in # topic
p Is a permit required if I want to {x} my garden?
s Is it necessary to have a licence to {x} my garden?
r To {x} my garden, do I need a permit?
- negation: What happens to me if I {x} my garden and have no permit?
- subject: Does my neighbour need my consent to {x} his garden?
- modality: May the town order me to {x} my garden?
- constraint: Do I need a permit to {x} my garden at night?

faq: When do bins get emptied on {x} Street?
x = Castle / Orchard / Bridge # entity
p On which day is the rubbish taken away on {x} Street?
s When is the garbage collected on {x} Street?
r On {x} Street, when do bins get emptied?
- topic: When do streetlights get switched off on {x} Street?
- constraint: When do paper bins get emptied on {x} Street?
- negation: Why do bins not get emptied on {x} Street?
- date: When do bins get emptied on {x} Street in the week of New Year?
- antonym: When do bins get put out on {x} Street at the earliest?

faq: What is the deadline for the {x} tax return?
x = 2023 / 2024 / 2025 # date
p Until when must the {x} tax return be handed in?
s By when do I have to file the tax return for {x}?
- topic: What is the penalty for a late {x} tax return?
- constraint: What is the deadline for the {x} tax return if an adviser files it?
- negation: Who need not file the {x} tax return?
- antonym: What is the first day on which the {x} tax return can be filed?
- subject: What is the deadline for the {x} tax return of a charity?

faq: Can I vote by post if I live {x}?
x = in a care home / on a boat / in another country # entity
p I live {x}. Is it possible to send in my vote by mail?
s May I vote by mail if I live {x}?
r If I live {x}, can I vote by post?
- antonym: Can I vote in person if I live {x}?
- modality: Do I have to vote by post if I live {x}?
- subject: Can my father vote for me if I live {x}?
- negation: Can I be kept from voting by post because I do not live {x}?
- scope: Can I vote by post in all elections or only in local ones if I live {x}?

faq: How do I register a change of address after moving from {x} to {y}?
x = Hamburg / Toronto # entity
y = Cologne / Ottawa
p I moved from {x} to {y}. How can I have my new address registered?
s How can I report a change of address after a move from {x} to {y}?
r After moving from {x} to {y}, how do I register a change of address?
- swap: How do I register a change of address after moving from {y} to {x}?
- topic: How do I register a car after moving from {x} to {y}?
- quantity: How do I register one change of address for eight people after moving from {x} to {y}?
- negation: What is the fine for not registering a change of address after moving from {x} to {y}?
- date: How do I register a change of address before moving from {x} to {y}?
- modality: Must I register a change of address after moving from {x} to {y}?

faq: Is child benefit paid for a child over {x}?
x = eighteen / twenty-one # number
p If my child is older than {x}, do I still get child benefit?
s Is child benefit granted for a child who is older than {x}?
r For a child over {x}, is child benefit paid?
- antonym: Is child benefit paid for a child under {x}?
- constraint: Is child benefit paid for a child over {x} who studies abroad?
- subject: Is child benefit paid to a grandparent for a child over {x}?
- swap: Is child benefit paid by a child over {x} to the parents?
- unit: Is child benefit paid for a child over {x} months?
- negation: Why is no child benefit paid for a child over {x}?

faq: How do I appeal against a parking fine?
p I think my parking fine is wrong. What can I do against it?
s How can I contest a parking ticket?
r Against a parking fine, how do I appeal?
- antonym: How do I pay a parking fine?
- entity: How do I appeal against a speeding fine?
- subject: How do I fine somebody for parking on my land?
- constraint: How do I appeal against a parking fine from abroad?
- negation: What happens if I do not appeal against a parking fine?

faq: When does the next bus go from the {x} to the {y}?
x = town hall / harbor # entity
y = hospital / stadium
p I'm at the {x} and want to get to the {y} by bus. When does the next one leave?
s When does the next bus run from the {x} to the {y}?
r From the {x} to the {y}, when does the next bus go?
- swap: When does the next bus go from the {y} to the {x}?
- entity: When does the next tram go from the {x} to the {y}?
- scope: When does the last bus go from the {x} to the {y}?
< constraint: When does the next bus with a wheelchair ramp go from the {x} to the {y}?
- negation: Why does no bus go from the {x} to the {y}?
- date: When does the first bus go from the {x} to the {y} on Sundays?

faq: Where do I get a certified copy of a {x} certificate?
x = birth / marriage / death # entity
p Which office issues a certified copy of a {x} certificate?
s Where can I obtain an attested copy of a {x} certificate?
- antonym: Where do I hand in a certified copy of a {x} certificate?
- quantity: How many certified copies of a {x} certificate do I get?
- negation: Where do I get by with an uncertified copy of a {x} certificate?
- modality: Can anybody get a certified copy of somebody's {x} certificate?

faq: How do I get my {x} recognised in this country?
x = medical degree / trade diploma / foreign divorce # entity
p What is the way to have this country accept my {x}?
s How can I have my {x} acknowledged in this country?
r In this country, how do I get my {x} recognised?
- swap: How do I get a {x} of this country recognised in mine?
- negation: Why was my {x} not recognised in this country?
- topic: How do I get my {x} translated in this country?
- subject: How do I get my wife's {x} recognised in this country?
- modality: Does my {x} have to be recognised in this country?
- date: How was a {x} recognised in this country in the last century?
"""
