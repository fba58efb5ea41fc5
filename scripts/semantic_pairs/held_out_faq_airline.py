INTENTS = r"""
faq: How many bags may I check in on a flight from {x} to {y}?
x = Athens / Dublin # entity
y = Cairo / Boston
p What number of checked bags is allowed if I fly from {x} to {y}?
s How many pieces of luggage am I allowed to check in on a flight from {x} to {y}?
r On a flight from {x} to {y}, how many bags may I check in?
- swap: How many bags may I check in on a flight from {y} to {x}?
- topic: How many bags may I carry on board on a flight from {x} to {y}?
- subject: How many bags may an infant check in on a flight from {x} to {y}?
- constraint: How many bags may I check in for free on a flight from {x} to {y}?
- modality: How many bags should I check in on a flight from {x} to {y}?

faq: My cabin bag weighs {x} kg. Is that too heavy?
x = 7 / 9 / 12 # number
p Am I over the limit with {x} kg of hand luggage?
s My hand luggage weighs {x} kg. Is it over the limit?
r Is my cabin bag too heavy? It weighs {x} kg.
- unit: My cabin bag weighs {x} pounds. Is that too heavy?
- entity: My checked suitcase weighs {x} kg. Is that too heavy?
- quantity: My two cabin bags weigh {x} kg each. Is that too heavy?
- subject: My dog in the cabin weighs {x} kg. Is that too heavy?

faq: When does online check-in {x}?
x = open / close # antonym
p At what time before the flight does check-in on the web {x}?
s What time does web check-in {x}?
- entity: When does the bag drop {x}?
- negation: Why does online check-in not {x}?
- constraint: When does online check-in {x} for flights to Canada?
- scope: When does online check-in {x} for the last flight of the day?

faq: I need a wheelchair at the airport. How do I request one?
p How can I order wheelchair assistance for the airport?
s I need a wheelchair at the airport. How can I ask for one?
r How do I request a wheelchair that I need at the airport?
- antonym: I no longer need a wheelchair at the airport. How do I cancel it?
- entity: I need a pushchair at the airport. How do I request one?
- constraint: I need an electric wheelchair at the airport. How do I request one?
- subject: I work at the airport. How do I reach a passenger who needs a wheelchair?
- negation: I bring my own wheelchair to the airport. How do I avoid having to check it in?

faq: What compensation do I get if my flight is {x} late?
x = three hours / three days / seven hours # number
p My flight has a delay of {x}. What am I owed?
s How much compensation am I entitled to if my flight is delayed by {x}?
r If my flight is {x} late, what compensation do I get?
- antonym: What compensation do I get if my flight leaves {x} early?
- negation: When do I get no compensation even though my flight is {x} late?
- swap: What compensation do I owe if I am {x} late for my flight?
- entity: What compensation do I get if my suitcase is {x} late?
- subject: What compensation does the crew get if the flight is {x} late?

faq: Am I allowed to take {x} through security?
x = insulin needles / knitting needles / a camping stove # entity
p Will security let me pass with {x}?
s May I carry {x} through security?
- negation: Why am I not allowed to take {x} through security?
- modality: Do I have to show {x} at security?
- subject: Is a pilot allowed to take {x} through security?
- antonym: Am I allowed to buy {x} after security?
- constraint: Am I allowed to take {x} through security with a doctor's letter?

faq: How do I correct a spelling mistake in the name on my ticket?
p The airline ticket has my name misspelled. How do I get that put right?
s How can I fix a typo in the name on my ticket?
r In the name on my ticket there is a spelling mistake. How do I correct it?
- topic: How do I correct a mistake in the date on my ticket?
- antonym: How do I transfer a ticket to a person of another name?
- constraint: How do I correct a spelling mistake in the name on my ticket after check-in?
- entity: How do I correct a spelling mistake in the name on my passport?
- subject: How do I correct a spelling mistake in my agency's clients' names on tickets?

faq: Can my {x}-year-old fly alone?
x = 6 / 11 / 14 # number
p I have a child aged {x}. May the child travel on a plane without an adult?
s Is my {x}-year-old allowed to fly unaccompanied?
- unit: Can my {x}-month-old fly with a nanny?
- subject: Can my {x}-year-old puppy fly alone?
- negation: Which seat does my {x}-year-old get if the child does not fly alone?
- modality: Must my {x}-year-old fly alone if I am booked on another flight?
- quantity: Can four friends, each {x} years old, fly together without adults?

faq: How many points do I need for an upgrade from {x} to {y}?
x = economy / premium economy # entity
y = business class / first class
p If I want to move up from {x} to {y}, what does it cost in points?
s How many points are required for an upgrade from {x} to {y}?
r From {x} to {y}, how many points do I need for an upgrade?
- swap: How many points do I get back for a downgrade from {y} to {x}?
- unit: How many euros do I need for an upgrade from {x} to {y}?
- quantity: How many points do we need for an upgrade of five people from {x} to {y}?
- date: How many points did I need for an upgrade from {x} to {y} last year?
- modality: May I use points for an upgrade from {x} to {y} at the gate?

faq: Is a meal served on flights shorter than {x}?
x = two hours / ninety minutes # unit
p Do passengers get a meal if the flight takes less than {x}?
s Is a meal offered on flights of under {x}?
r On flights shorter than {x}, is a meal served?
- antonym: Is a meal served on flights longer than {x}?
- topic: Is alcohol served on flights shorter than {x}?
- constraint: Is a kosher meal served on flights shorter than {x}?
- negation: Why is no meal served on flights shorter than {x}?
- scope: Is a meal served on all flights, whatever their length, or only on those of {x}?

faq: My suitcase has not arrived. Where do I report it?
p Where can I tell you that my suitcase never turned up?
s My suitcase is missing. Where should I report this?
r Where do I report that my suitcase has not arrived?
- antonym: My suitcase has arrived. Where do I collect it?
- swap: I have not arrived, but my suitcase has. Where is it kept?
- subject: I took another passenger's suitcase. How do I give it back?
- quantity: Two of my four suitcases have not arrived. How much may I spend on clothes?
- topic: My suitcase has been damaged. How much do I get for it?
- date: My suitcase will arrive tomorrow. Where do I pick it up?

faq: Can I change my flight from {x} to {y} of the same week?
x = Monday / Thursday # date
y = Wednesday / Saturday
p I'm booked for {x}. Could I fly on {y} of the same week instead?
s Is it possible to move my flight from {x} to {y} of the same week?
r From {x} to {y} of the same week: can I change my flight?
- swap: Can I change my flight from {y} to {x} of the same week?
- constraint: Can I change my flight from {x} to {y} of the same week without a fee?
- entity: Can I change my hotel from {x} to {y} of the same week?
- modality: Must I change my flight from {x} to {y} of the same week because of the strike?
- negation: What if I do not want my flight moved from {x} to {y} of the same week?
"""
