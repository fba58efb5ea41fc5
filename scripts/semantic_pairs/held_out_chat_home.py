INTENTS = r"""
chat: How long do I roast {x} at 180 degrees Celsius?
x = a whole chicken / sweet potatoes / a leg of lamb # entity
p At 180 degrees Celsius in the oven, what is the cooking time of {x}?
s For how long should I bake {x} at 180 degrees Celsius?
r At 180 degrees Celsius, how long do I roast {x}?
- unit: How long do I roast {x} at 180 degrees Fahrenheit?
- number: How long do I roast {x} at 120 degrees Celsius?
- topic: How long do I grill {x} over charcoal?
- antonym: How long do I chill {x} after roasting at 180 degrees Celsius?
< constraint: How long do I roast {x} from frozen at 180 degrees Celsius?

chat: How much {x} does a recipe for {y} need?
x = rice / flour / milk # entity
y = paella for four people / six bread rolls / eight crepes
p What amount of {x} do I take for {y}?
s What quantity of {x} is needed in a recipe for {y}?
r For {y}, how much {x} does a recipe need?
- topic: How much salt does a recipe for {y} need?
- negation: What recipe for {y} needs no {x}?
< constraint: How much {x} does a low-calorie recipe for {y} need?
- modality: Which {x} should I buy for a recipe for {y}?

chat: Suggest a {x} dinner that takes less than {y} minutes.
x = vegetarian / low-carb # constraint
y = 20 / 35
p I want to have a {x} dinner ready in under {y} minutes. What could I cook?
s Propose a {x} dinner that needs fewer than {y} minutes.
- entity: Suggest a {x} dessert that takes less than {y} minutes.
- negation: Suggest a dinner that is not {x} and takes less than {y} minutes.
- antonym: Suggest a {x} dinner that takes more than {y} minutes.
- quantity: Suggest seven {x} dinners that take less than {y} minutes each.
- subject: Suggest a {x} dinner for a toddler that takes less than {y} minutes.
- constraint: Suggest a {x} dinner without dairy that takes less than {y} minutes.

chat: Can I freeze {x}?
x = cooked pasta / lettuce / whipped cream # entity
p Will {x} survive being put into the freezer?
s May {x} be frozen?
- antonym: Can I thaw {x} in hot water?
- constraint: Can I freeze {x} for more than a year?
- modality: Must I freeze {x}?
- negation: What if I do not freeze {x}?
- topic: Can I microwave {x}?
- quantity: How much {x} can I freeze in one bag?

chat: As a citizen of {x}, do I need a visa for {y}?
x = India / Egypt # entity
y = Thailand / Serbia
p I hold a passport of {x} and want to visit {y}. Is a visa necessary?
s As a national of {x}, do I require a visa for {y}?
r Do I need a visa for {y} as a citizen of {x}?
- swap: As a citizen of {y}, do I need a visa for {x}?
- topic: As a citizen of {x}, do I need a vaccination for {y}?
- negation: As a citizen of {x}, what happens to me if I am found in {y} without a visa?
- subject: As a foreign resident of {x}, do I need a visa for {y}?
< constraint: As a citizen of {x}, do I need a visa for {y} if I want to work there?
- date: As a citizen of {x}, did one need a visa for {y} in 1970?

chat: What should I pack for {x} in {y}?
x = a week of hiking / a business trip / a beach holiday # entity
y = Iceland / Singapore / Crete
p I'm going to {y} for {x}. Which things must be in my luggage?
s What should I put into my bag for {x} in {y}?
r For {x} in {y}, what should I pack?
- negation: What should I not pack for {x} in {y}?
- subject: What should I pack for a baby on {x} in {y}?
- date: What should I pack for {x} in {y} in February?
- antonym: What should I unpack first after {x} in {y}?
- topic: What should I budget for {x} in {y}?
- scope: What is the most important thing to pack for {x} in {y}?

chat: When it is {x} o'clock in the evening in {y}, what time is it in Auckland?
x = six / eight / ten # number
y = Paris / Los Angeles / Dubai
p What does the clock in Auckland say when it says {x} in the evening in {y}?
r What time is it in Auckland when it is {x} o'clock in the evening in {y}?
- swap: When it is {x} o'clock in the evening in Auckland, what time is it in {y}?
- antonym: When it is {x} o'clock in the morning in {y}, what time is it in Auckland?
- entity: When it is {x} o'clock in the evening in {y}, what time is it in Buenos Aires?
- topic: When it is {x} o'clock in the evening in {y}, how warm is it in Auckland?

chat: What is {x} divided by {y}?
x = 84 / 143 / 5,040 # number
y = 7 / 11 / 12
p If I split {x} into {y} equal parts, how large is each?
s How much is {x} divided by {y}?
r Divided by {y}, what is {x}?
- swap: What is {y} divided by {x}?
- antonym: What is {x} multiplied by {y}?
- topic: What is the remainder of {x} divided by {y}?
- unit: What is {x} dozen divided by {y}?
- negation: Which numbers do not divide {x} besides {y}?

chat: How do I compute the {x} of a {y}?
x = volume / surface # topic
y = cone / sphere
p Which formula gives the {x} of a {y}?
s How can I calculate the {x} of a {y}?
r The {x} of a {y}: how do I compute it?
- entity: How do I compute the {x} of a cuboid?
- antonym: How do I find the size of a {y} from its {x}?
- scope: How do I compute the largest {x} that a {y} in a given box can have?
- quantity: How do I compute the {x} of two {y}s that overlap?
- constraint: How do I compute the {x} of a {y} without knowing its radius or edge?
- modality: Why must the {x} of a {y} be positive?

chat: Is {x} a prime number?
x = 91 / 97 / 119 / 127 # number
p Does {x} have no divisors besides one and itself?
s Is the number {x} prime?
- antonym: Is {x} a composite number?
- topic: How many prime numbers are below {x}?
- scope: What is the smallest prime number above {x}?

chat: What are the odds of rolling {x} with {y}?
x = a six / a sum of five / at least one four # number
y = one die / two dice / three dice
p How likely am I to get {x} when I roll {y}?
s What is the probability of rolling {x} with {y}?
r With {y}, what are the odds of rolling {x}?
- negation: What are the odds of not rolling {x} with {y}?
- number: What are the odds of rolling {x} with ten dice?
- quantity: What are the odds of rolling {x} with {y} twice in a row?
- modality: Must I roll {x} with {y} sooner or later?
- entity: What are the odds of rolling {x} with {y} of twenty sides?

chat: How many liters of paint do I need for {x} square meters of wall?
x = 45 / 60 / 80 # number
p I want to paint {x} square meters of wall. What amount of paint in liters should I buy?
s How many liters of paint are required for {x} square meters of wall?
r For {x} square meters of wall, how many liters of paint do I need?
- unit: How many liters of paint do I need for {x} square feet of wall?
- quantity: How many liters of paint do I need for two coats on {x} square meters of wall?
- entity: How many liters of primer do I need for {x} square meters of wall?
- topic: How many hours do I need for painting {x} square meters of wall?
- swap: How many square meters of wall can I paint with {x} liters of paint?
- antonym: How do I remove old paint from {x} square meters of wall?
- constraint: How many liters of the cheapest paint do I need for {x} square meters of rough wall?
"""
