INTENTS = r"""
faq: How do I freeze my {x} membership for a month?
x = gym / climbing hall / swimming club # entity
p I want to pause my {x} membership for one month. What do I need to do?
s How can I suspend my {x} membership for a month?
r For a month, I'd like my {x} membership frozen. How do I do that?
- antonym: How do I reactivate my {x} membership after a month?
- number: How do I freeze my {x} membership for two months?
- unit: How do I freeze my {x} membership for a year?
- subject: How do I freeze my daughter's {x} membership for a month?
- topic: How do I upgrade my {x} membership for a month?

faq: How many books can I borrow from the {x} library at once?
x = city / university / school # entity
p What is the limit on books I may have out from the {x} library at the same time?
s How many books may I take out from the {x} library at a time?
- antonym: How many books can I donate to the {x} library at once?
- scope: What is the minimum number of books I must borrow from the {x} library to keep my card?
- topic: How many films can I borrow from the {x} library at once?
- subject: How many books can a teacher borrow from the {x} library at once?

faq: What is the fine for a library book that is two weeks late?
p How much do I owe if I bring back a book to the library two weeks after it was due?
s How much is the penalty for a library book that is two weeks overdue?
r A library book of mine is two weeks late. What is the fine?
n What is the fine for a library book that is 2 weeks late?
- number: What is the fine for a library book that is four weeks late?
- unit: What is the fine for a library book that is two days late?
- entity: What is the fine for a library DVD that is two weeks late?
- topic: What is the fine for a library book that is torn?

faq: What time is check-in at the {x} hotel?
x = airport / harbour / old town # entity
p From what hour can I get into my room at the {x} hotel?
s At what time can I check in at the {x} hotel?
r At the {x} hotel, what time is check-in?
- antonym: What time is check-out at the {x} hotel?
- topic: What time is breakfast at the {x} hotel?
- constraint: What time is the earliest check-in at the {x} hotel for loyalty members?
- modality: Can I check in late at night at the {x} hotel?

faq: Are pets allowed in the {x}?
x = hotel rooms / holiday flats / camp site cabins # entity
p May I bring my dog or another pet into the {x}?
s Are animals permitted in the {x}?
- negation: Which pets are not allowed in the {x}?
- quantity: Is more than one pet allowed in the {x}?
- constraint: Are pets allowed in the {x} without a fee?
- topic: Are parties allowed in the {x}?
- antonym: Are pets banned in all the {x} during summer?

faq: How do I watch {x} on two devices at the same time?
x = a live match / a rented film # entity
p Is there a way to stream {x} on a couple of screens at once, and how?
s How can I stream {x} on two devices simultaneously?
r On two devices at the same time, how do I watch {x}?
n How do I watch {x} on 2 devices at the same time?
- number: How do I watch {x} on four devices at the same time?
- negation: How do I stop others from watching {x} on two devices at the same time?
- topic: How do I download {x} on two devices at the same time?

faq: Why was I charged twice for my {x} subscription?
x = streaming / newspaper / meal kit # entity
p My {x} subscription was billed two times. How come?
s Why was I billed twice for my {x} subscription?
- number: Why was I charged three times for my {x} subscription?
- negation: Why was I not charged for my {x} subscription?
- antonym: Why was I refunded twice for my {x} subscription?
- topic: Why was I charged tax for my {x} subscription?
- modality: Could I be charged twice for my {x} subscription if I move abroad?

faq: How do I turn on subtitles in the {x} app?
x = TV / tablet / web # entity
p What do I press to make captions appear in the {x} app?
s How can I enable subtitles in the {x} app?
r In the {x} app, how do I turn on subtitles?
- antonym: How do I turn off subtitles in the {x} app?
< constraint: How do I turn on Spanish subtitles in the {x} app?
- topic: How do I turn on parental controls in the {x} app?
- scope: How do I turn on subtitles for all profiles in the {x} app?

faq: How much does it cost to send a {x} kg parcel to Norway?
x = 2 / 5 / 10 # number
p What is the price of posting a parcel of {x} kg to Norway?
s How much does it cost to ship a package of {x} kg to Norway?
r To Norway, how much does it cost to send a {x} kg parcel?
- swap: How much does it cost to send a {x} kg parcel from Norway?
- entity: How much does it cost to send a {x} kg parcel to Sweden?
< constraint: How much does it cost to send a {x} kg parcel to Norway by express?
- modality: May I send a {x} kg parcel to Norway?
- unit: How much does it cost to send a {x} pound parcel to Norway?

faq: How do I report a lost {x}?
x = library card / season ticket / parcel # entity
p I can't find my {x} any more. Whom do I tell, and how?
s How can I notify you of a missing {x}?
r My {x} is lost. How do I report it?
- antonym: How do I report a found {x}?
- topic: How do I report a damaged {x}?
- subject: How do I report a colleague's lost {x}?
- modality: Must I report a lost {x}?

faq: Can I bring my own food to the {x}?
x = zoo / theme park / open-air cinema # entity
p Am I allowed to eat food from home at the {x}?
s May I bring my own snacks and meals to the {x}?
- negation: Which food can I not buy at the {x}?
- modality: Should I bring my own food to the {x}?
- topic: Can I bring my own chair to the {x}?
- antonym: Can I take food home from the {x}?
- subject: Can school groups store their food at the {x}?

faq: What documents do I need to rent a {x}?
x = car / van / motorbike # entity
p Which papers must I show when I hire a {x}?
s Which documents are required to hire a {x}?
r To rent a {x}, what documents do I need?
- antonym: What documents do I need to rent out my own {x}?
- subject: What documents does my second driver need for a rented {x}?
< constraint: What documents do I need to rent a {x} abroad?
- topic: What age do I need to be to rent a {x}?
- scope: What is the one document I always need to rent a {x}?

faq: Do I have to fill the tank before I give the rental car back?
p Does the rental car need to be returned with a full tank?
s Must I refuel the hire car before I return it?
r Before I give the rental car back, do I have to fill the tank?
- modality: Can I fill the tank before I give the rental car back?
- negation: What if I do not fill the tank before I give the rental car back?
- topic: Do I have to wash the rental car before I give it back?
- antonym: Is the tank full when I pick the rental car up?
- quantity: Do I have to fill half the tank before I give the rental car back?

faq: Can I cancel my dentist appointment {x} before?
x = one day / one hour # unit
p Is {x} ahead early enough to call off my appointment with the dentist?
s Can I call off my dentist appointment {x} in advance?
- antonym: Can I book my dentist appointment {x} before?
- subject: Can the dentist cancel my appointment {x} before?
- topic: Can I eat {x} before my dentist appointment?
- modality: Must I confirm my dentist appointment {x} before?

faq: How do I open a savings account for my {x}?
x = grandson / limited company / tennis club # subject
p What steps do I take to set up a savings account for my {x}?
s How can I set up a savings account for my {x}?
r For my {x}, how do I open a savings account?
- antonym: How do I close a savings account for my {x}?
- entity: How do I open a current account for my {x}?
- quantity: How do I open two savings accounts for my {x}?
- constraint: How do I open a savings account for my {x} without visiting a branch?
- modality: Should I open a savings account for my {x}?
"""
