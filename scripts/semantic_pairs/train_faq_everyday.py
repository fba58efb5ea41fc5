INTENTS = r"""
faq: How do I read my electricity meter?
p My electricity meter shows several figures. Which of them do I note down, and how?
s How can I take a reading of my electricity meter?
- entity: How do I read my gas meter?
- antonym: How do I reset my electricity meter?
- subject: How do I have a technician read my electricity meter?
- modality: When must I read my electricity meter?
- date: How was my electricity meter read in January when nobody was in?

faq: Can I switch to a cheaper electricity tariff before my contract ends?
p My contract is still running. Is there a way to move to an electricity tariff that costs less?
r Before my contract ends, can I switch to a cheaper electricity tariff?
- antonym: Can I switch to a cheaper electricity tariff after my contract ends?
- modality: Do I have to switch to a cheaper electricity tariff before my contract ends?
- negation: Can I keep my electricity tariff without a new contract?
- topic: Can I switch to a greener electricity tariff before my contract ends?

faq: What is the monthly fee for a place at the {x}?
x = nursery / after-school club # entity
p How much does a place at the {x} cost us each month?
s How much is the monthly fee for a place at the {x}?
- unit: What is the weekly fee for a place at the {x}?
- topic: What is the waiting time for a place at the {x}?
- quantity: What is the monthly fee for two siblings at the {x}?
< constraint: What is the monthly fee for a half-day place at the {x}?

faq: My train was cancelled. How do I get a refund for the ticket?
p How can I have the price of my ticket paid back after my train did not run?
s My train was cancelled. How can I get my money back for the ticket?
- antonym: My train was on time. How do I get a receipt for the ticket?
- entity: My ferry was cancelled. How do I get a refund for the ticket?
- subject: My client's train was cancelled. How does the agency get a refund for the ticket?
- topic: My train was cancelled. How do I get a taxi instead?
- modality: My train was cancelled. Must I take the next one?

faq: Which platform does the 14:30 train to {x} leave from?
x = Ghent / Lille # entity
p I'm taking the 14:30 train to {x}. At which platform do I board it?
s Which track does the 14:30 train to {x} depart from?
- date: Which platform does the 16:30 train to {x} leave from?
- swap: Which platform does the 14:30 train from {x} arrive at?
- topic: Which stations does the 14:30 train to {x} stop at?
- negation: Why does the 14:30 train to {x} not leave from its usual platform?

faq: Can I take a bicycle on a regional train?
p Is it allowed to bring a bike along when I ride a regional train?
s Can I bring a bike on a regional train?
- entity: Can I take a bicycle on an express train?
- scope: Can I take a bicycle on a regional train at all hours?
- quantity: Can a group take ten bicycles on a regional train?
- modality: Should I lock a bicycle on a regional train?
- constraint: Can I take a bicycle on a regional train for free?

faq: How late can I still change the number of guests for our dinner reservation?
p Until when may I tell you that we will be more or fewer people at dinner than I booked for?
s Until when can I change the number of guests for our dinner reservation?
- antonym: How early can I make a dinner reservation?
- topic: How late can I still change the menu for our dinner reservation?
- quantity: How much can I change the number of guests for our dinner reservation?
- entity: How late can I still change the number of guests for our lunch reservation?

faq: Do you have a menu for people who cannot eat gluten?
p I must avoid gluten. Is there something like a separate menu for that?
s Do you offer a menu for people who can't eat gluten?
- topic: Do you have a menu for people who cannot eat lactose?
- negation: Do you have dishes with gluten for people who love bread?
- subject: Do you have kitchen staff who cannot eat gluten?
- scope: Are all the dishes on your menu fit for people who cannot eat gluten?

faq: Can I get a refund for theatre tickets if I am ill on the evening?
p If I fall sick on the day of the show, will the theatre pay back what my tickets cost?
r If I am ill on the evening, can I get a refund for theatre tickets?
- antonym: Can I get a refund for theatre tickets if the lead actor is ill on the evening?
- topic: Can I get another date for theatre tickets if I am ill on the evening?
- modality: Do I have to tell the theatre if I am ill on the evening?
- quantity: Can I get a refund for only one of four theatre tickets?
- constraint: Can I get a refund for theatre tickets if I am ill on the evening but have no medical certificate?

faq: How long before the film do the doors open?
p How many minutes ahead of the start may we go in to see the film?
s How long before the movie do the doors open?
- antonym: How long after the film do the doors stay open?
- topic: How long before the film do the adverts start?
- negation: Why do the doors not open before the film?
- modality: How long before the film must I be there?

faq: What should I do if my new wardrobe lacks a screw?
p There is a screw missing from the wardrobe I just bought. How do I proceed?
r If my new wardrobe lacks a screw, what should I do?
- topic: What should I do if my new wardrobe lacks a door?
- antonym: What should I do if my new wardrobe came with a screw too many?
- modality: Can I use my new wardrobe if it lacks a screw?
- subject: What should a shop do if a customer's new wardrobe lacks a screw?

faq: How much does it cost to have a {x} assembled at home?
x = bunk bed / treadmill # entity
p What do you charge if a fitter comes to my home and puts a {x} together?
s What does it cost to have a {x} put together at home?
- antonym: How much does it cost to have a {x} taken apart at home?
- topic: How long does it take to have a {x} assembled at home?
- quantity: How much does it cost to have three of the {x} model assembled at home?
- negation: How much does a {x} cost if it is not assembled at home?
- constraint: How much does it cost to have a {x} assembled at home on a Saturday evening?

faq: When is my car due for its next inspection?
p On what date does my car have to be inspected again?
s When must my car have its next inspection?
- entity: When is my trailer due for its next inspection?
- date: When did my car have its last inspection?
- topic: What is checked in my car's next inspection?
- negation: Why is my car not due for an inspection this year?

faq: How do I claim for a stolen bicycle on my home insurance?
p My bike was stolen. What are the steps to get money from my home insurance?
r On my home insurance, how do I claim for a stolen bicycle?
- antonym: How do I insure a new bicycle on my home insurance?
- topic: How do I claim for a broken window on my home insurance?
- subject: How do I claim for my guest's stolen bicycle on my home insurance?
- constraint: How do I claim for a stolen bicycle on my home insurance without a police report?
- modality: Can I claim for a stolen bicycle on my home insurance if it was not locked?

faq: Is there a discount for students on language courses?
p Do students pay less for your language courses?
s Is there a price reduction for students on language courses?
- subject: Is there a discount for pensioners on language courses?
- topic: Is there a discount for students on sailing courses?
- scope: Is there a discount for students on all courses?
- negation: Why is there no discount for students on language courses?
- quantity: How high is the discount for two students of one family on language courses?

faq: Can I wear contact lenses during the eye test?
p Is it all right to leave my contact lenses in while my eyes are tested?
r During the eye test, can I wear contact lenses?
- modality: Should I wear contact lenses during the eye test?
- antonym: Can I take my contact lenses out during the eye test?
- negation: Can I drive home without contact lenses right after the eye test?
- topic: Can I wear mascara during the eye test?

faq: How can I donate to the animal shelter every month?
p I want to give the animal shelter some money each month. How do I arrange that?
s How do I make a monthly donation to the animal shelter?
- unit: How can I donate to the animal shelter once a year?
- antonym: How can I stop donating to the animal shelter every month?
- topic: How can I volunteer at the animal shelter every month?
- entity: How can I donate to the food bank every month?
- constraint: How can I donate to the animal shelter every month without giving my name?

faq: Where do I park when I visit the aquarium?
p Which car park should visitors of the aquarium use?
r When I visit the aquarium, where do I park?
- subject: Where do coach drivers park when a group visits the aquarium?
- topic: Where do I queue when I visit the aquarium?
- modality: May I park overnight when I visit the aquarium?
- negation: Where must I not park when I visit the aquarium?

faq: What is the minimum age for the climbing wall?
p How old must one be to use the climbing wall?
s What is the lowest age permitted at the climbing wall?
- scope: What is the maximum age for the climbing wall?
- entity: What is the minimum age for the trampoline?
- topic: What is the minimum height for the climbing wall?
- constraint: What is the minimum age for the climbing wall without a grown-up?
"""
