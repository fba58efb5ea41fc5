INTENTS = r"""
chat: What is the capital of {x}?
x = Mongolia / Peru / Kenya / Latvia # entity
p Which city is the seat of government of {x}?
r {x}: what is its capital?
- topic: What is the currency of {x}?
- quantity: What cities have been a capital of {x} in the past?
- scope: What is the second largest city of {x}?
- modality: Should {x} move its capital to another city?

chat: Who wrote {x}?
x = Moby-Dick / Jane Eyre / The Trial # entity
p What is the name of the author of {x}?
s Who is the author of {x}?
- topic: Who published {x}?
- negation: Who is wrongly said to have written {x}?
- modality: Who should read {x}?
- antonym: Who translated {x}?

chat: Why do cats {x}?
x = purr / knead blankets / hate closed doors # topic
p What is the reason that cats {x}?
s For what reason do cats {x}?
r Cats {x}. Why?
- negation: Why do some cats not {x}?
- entity: Why do lions {x}?
- modality: Can one teach cats to {x}?
- quantity: Why does my one old cat suddenly {x} more than before?

chat: How far is the Moon from the Earth in kilometers?
p How many kilometers lie between the Earth and the Moon?
s What is the distance between the Moon and the Earth in kilometers?
r In kilometers, how far is the Moon from the Earth?
n How far is the Moon from the Earth in km?
- unit: How far is the Moon from the Earth in miles?
- entity: How far is Venus from the Earth in kilometers?
- topic: How wide is the Moon in kilometers?
- scope: What is the smallest distance of the Moon from the Earth in kilometers?
- date: How far will the Moon be from the Earth in kilometers in a billion years?

chat: Did the {x} end before the {y}?
x = Bronze Age / Thirty Years' War / Ming dynasty # entity
y = founding of Rome / coronation of Peter the Great / voyage of the Mayflower
p Had the {x} already ended when the {y} took place?
s Was the {x} over before the {y}?
r Before the {y}, did the {x} end?
- antonym: Did the {x} end after the {y}?
- swap: Did the {y} end before the {x}?
- topic: Did people of the {x} know of the {y}?
- negation: Why did the {x} not end before the {y}?

chat: Which planet in the solar system has the most moons?
p What planet of our solar system is orbited by more moons than any other?
s Which planet in the solar system has the greatest number of moons?
r In the solar system, which planet has the most moons?
- antonym: Which planet in the solar system has the fewest moons?
- scope: Which planets in the solar system have any moons?
- negation: Which planets in the solar system have no moons?
- topic: Which planet in the solar system has the longest day?
- swap: Which moon in the solar system goes around the smallest planet?

chat: Explain {x} to a child.
x = gravity / inflation / photosynthesis # topic
p How would you describe {x} so that a child understands it?
s Explain {x} to a kid.
r To a child, explain {x}.
- subject: Explain {x} to a graduate student.
- constraint: Explain {x} to a child in one sentence.
- negation: Explain to a child what {x} is not.
- modality: Should one explain {x} to a child?

chat: What would happen if the Earth stopped turning?
p Suppose our planet no longer spun. What would follow?
s What would occur if the Earth stopped rotating?
r If the Earth stopped turning, what would happen?
- entity: What would happen if the Moon stopped turning?
- antonym: What would happen if the Earth started turning faster?
- negation: What would not change if the Earth stopped turning?
- modality: Will the Earth ever stop turning?

chat: Is it safe to eat {x} raw?
x = mussels / chestnuts / minced pork # entity
p Can {x} be eaten uncooked without danger?
s Is it risk-free to eat {x} uncooked?
- antonym: Is it safe to eat {x} cooked?
- subject: Is it safe for cats to eat {x} raw?
- topic: Is it safe to freeze {x} raw?
- negation: Why do people not eat {x} raw?

chat: How do I boil an egg so that the yolk stays soft?
p What's the way to get a soft-boiled egg with a liquid yolk?
s How can I cook an egg in boiling water so that the yolk remains soft?
r So that the yolk stays soft, how do I boil an egg?
- antonym: How do I boil an egg so that the yolk gets hard?
- topic: How do I fry an egg so that the yolk stays soft?
- swap: How do I cook an egg so that the white stays soft and the yolk gets hard?
- quantity: How do I boil thirty eggs at once so that the yolks stay soft?
- constraint: How do I boil an egg in a microwave so that the yolk stays soft?

chat: Give me a recipe for {x} without nuts.
x = brownies / granola / pesto # entity
p I'd like to make {x} but can't use nuts. What recipe do you have?
s Give me a nut-free recipe for {x}.
r Without nuts, give me a recipe for {x}.
- antonym: Give me a recipe for {x} with nuts.
- constraint: Give me a recipe for {x} without nuts and without sugar.
- topic: Give me a recipe for {x} without salt.
- quantity: Give me ten recipes for {x} without nuts.

chat: What can I use instead of {x} in pancakes?
x = buttermilk / baking powder # entity
p I have no {x} at home. What works in its place for pancakes?
s What is a substitute for {x} in pancakes?
r In pancakes, what can I use instead of {x}?
- antonym: What can I use {x} instead of in pancakes?
- negation: What can I not use instead of {x} in pancakes?
- topic: What can I use instead of {x} in meringue?
- constraint: What can I use instead of {x} in pancakes for somebody who must have neither vinegar nor lemon?
- modality: Why should I use {x} in pancakes?
"""
