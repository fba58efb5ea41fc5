INTENTS = r"""
chat: Why does bread rise?
p What makes bread dough grow before and during baking?
s For what reason does bread rise?
- negation: Why does bread sometimes not rise?
- antonym: Why does bread collapse?
- entity: Why does puff pastry rise?
- modality: How high should bread rise?

chat: How many teaspoons are in a tablespoon?
p One tablespoon holds what number of teaspoons?
r In a tablespoon, how many teaspoons are there?
- swap: How many tablespoons are in a teaspoon?
- unit: How many milliliters are in a tablespoon?
- number: How many teaspoons are in three tablespoons?
- entity: How many teaspoons are in a cup?

chat: Who painted the ceiling of the Sistine Chapel?
p Which artist is behind the paintings on the ceiling of the Sistine Chapel?
s By whom was the ceiling of the Sistine Chapel painted?
- topic: Who restored the ceiling of the Sistine Chapel?
- scope: Who painted the oldest wall of the Sistine Chapel?
- negation: Who refused to paint the ceiling of the Sistine Chapel?
- date: When was the ceiling of the Sistine Chapel painted?

chat: What is the boiling point of ethanol in Celsius?
p At how many degrees Celsius does ethanol boil?
s At what temperature in Celsius does ethanol boil?
- antonym: What is the freezing point of ethanol in Celsius?
- unit: What is the boiling point of ethanol in Fahrenheit?
- entity: What is the boiling point of acetone in Celsius?
- constraint: What is the boiling point of ethanol in Celsius at high altitude?

chat: Is a tomato a fruit or a vegetable?
p Which of the two does a tomato count as, fruit or vegetable?
r A tomato: is it a fruit or a vegetable?
- entity: Is a pumpkin a fruit or a vegetable?
- modality: Why can a tomato be called a vegetable by law?
- negation: Which fruit is often taken for a vegetable but is not a tomato?
- topic: Is a tomato a source of vitamin C?

chat: How do I remove red wine from a white shirt?
p I spilled red wine on a white shirt. What gets the stain out?
s How can I get red wine out of a white shirt?
- entity: How do I remove coffee from a white shirt?
- antonym: How do I dye a white shirt wine red?
- constraint: How do I remove red wine from a white shirt without bleach?
- modality: Can I remove red wine from a white shirt after it was ironed?

chat: What is the rule for dividing one fraction by another?
p How does one divide by a fraction, as a rule?
s What's the rule to divide a fraction by another fraction?
- antonym: What is the rule for multiplying one fraction by another?
- topic: What is the rule for adding one fraction to another?
- constraint: What is the rule for dividing one mixed number by another without making fractions of them?
- modality: When can one fraction not be divided by another?

chat: A shirt costs $40 and is reduced by 25%. What do I pay?
p If a shirt of $40 has a discount of 25%, how much must I give the cashier?
r What do I pay for a shirt that costs $40 and is reduced by 25%?
- number: A shirt costs $40 and is reduced by 35%. What do I pay?
- unit: A shirt costs $40 and is reduced by $25. What do I pay?
- antonym: A shirt costs $40 and its price goes up by 25%. What do I pay?
- quantity: A shirt costs $40 and is reduced by 25%. What do I pay for five of them?
- swap: A shirt costs $25 and is reduced by 40%. What do I pay?

chat: Is {x} bigger than {y}?
x = Madagascar / Corsica # entity
y = Borneo / Sardinia
p Of {x} and {y}, is {x} the larger one?
s Is {x} larger than {y}?
- swap: Is {y} bigger than {x}?
- antonym: Is {x} smaller than {y}?
- topic: Is {x} warmer than {y}?

chat: Write a thank-you note to my {x}.
x = tennis coach / grandparents # subject
p I want to thank my {x} in a few lines. Please word them for me.
s Compose a thank-you note to my {x}.
- antonym: Write a note of complaint to my {x}.
- constraint: Write a thank-you note to my {x} in Latin.
- swap: Write a thank-you note to me from my {x}.
- quantity: Write three thank-you notes to my {x}.

chat: Make this paragraph more formal: "{x}"
x = Gotta run, we'll talk about the leak later. / The gig was a blast, but the sound was off. # topic
p Here is a paragraph that should sound less casual. Please rewrite it: "{x}"
s Make this paragraph sound more formal: "{x}"
- antonym: Make this paragraph less formal: "{x}"
- topic: Make this paragraph longer: "{x}"
- constraint: Make this paragraph more formal without changing its length: "{x}"
- modality: Is this paragraph formal enough? "{x}"

chat: How do I say thank you in Hungarian?
p What are the Hungarian words for "thank you"?
s How do you say thanks in Hungarian?
- entity: How do I say thank you in Finnish?
- topic: How do I say good night in Hungarian?
- antonym: How do I answer in Hungarian when somebody says thank you?
- constraint: How do I say thank you in Hungarian to a child?

chat: Is it cheaper to fly or to take the train from Warsaw to Gdansk?
p From Warsaw to Gdansk, which costs less, a flight or the train?
s Is flying or taking the train less expensive from Warsaw to Gdansk?
- topic: Is it faster to fly or to take the train from Warsaw to Gdansk?
- entity: Is it cheaper to drive or to take the bus from Warsaw to Gdansk?
- modality: Was it always cheaper to take the train than to fly from Warsaw to Gdansk?
- subject: Is it cheaper for a family of six to fly or to take the train from Warsaw to Gdansk?

chat: When do the cherry trees bloom in Seoul?
p In which weeks can one see the cherry blossom in Seoul?
r In Seoul, when do the cherry trees bloom?
- entity: When do the magnolias bloom in Seoul?
- topic: Where do the cherry trees bloom in Seoul?
- date: When did the cherry trees bloom in Seoul a hundred years ago?
- scope: When do the last cherry trees bloom in Seoul?

chat: What is the oldest university in the world that still teaches?
p Among the universities that are still teaching, which one was founded first?
s Which is the oldest university in the world that's still teaching?
- scope: What is the largest university in the world that still teaches?
- antonym: What is the newest university in the world?
- entity: What is the oldest theatre in the world that still puts on plays?
- negation: What is the oldest university in the world that no longer teaches?

chat: How do I keep basil alive on a windowsill?
p My basil stands on the windowsill. What does it need so that it doesn't die?
r On a windowsill, how do I keep basil alive?
- entity: How do I keep an orchid alive on a windowsill?
- antonym: How do I get rid of basil that spreads from a windowsill?
- date: How do I keep basil alive on a windowsill in December?
- topic: How do I harvest basil on a windowsill?
"""
