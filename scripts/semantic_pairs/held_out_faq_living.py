INTENTS = r"""
faq: What is the admission fee for the {x} museum?
x = maritime / toy / railway # entity
p How much do I pay to get into the {x} museum?
s What's the entrance fee for the {x} museum?
- topic: What is the photography fee for the {x} museum?
- subject: What is the admission fee for a school class at the {x} museum?
- date: What is the admission fee for the {x} museum on the first Thursday of the month?
- negation: On what days is there no admission fee for the {x} museum?

faq: My landlord wants to raise the rent by {x}%. Is that legal?
x = 8 / 18 # number
p Is my landlord within the law to increase my rent by {x}%?
s My landlord wants to increase the rent by {x}%. Is it lawful?
n My landlord wants to raise the rent by {x} percent. Is that legal?
- unit: My landlord wants to raise the rent by €{x}. Is that legal?
- antonym: My landlord wants to cut the rent by {x}%. Is there a catch?
- subject: My tenant wants to cut the rent by {x}%. Is that legal?
- entity: My landlord wants to raise the deposit by {x}%. Is that legal?

faq: When do I get my deposit back after moving out?
p How long after I've left the flat will my deposit be returned?
r After moving out, when do I get my deposit back?
- antonym: When do I pay the deposit before moving in?
- topic: When do I get my final bill after moving out?
- subject: When does my subtenant get the deposit back after moving out?
- quantity: When do I get half of my deposit back?
- modality: May the landlord keep my deposit after moving out?

faq: Who repairs the heating in my flat, the landlord or I?
p The heating in my flat is broken. Is it my job to have it repaired or my landlord's?
s Who has to mend the heating in my flat, I or the landlord?
- topic: Who pays for the heating oil in my flat, the landlord or I?
- date: By when must the heating in my flat be repaired?
- negation: What can I do if nobody repairs the heating in my flat?
- entity: Who repairs the doorbell in my flat, the landlord or I?

faq: I am moving on {x}. How much does a van with two movers cost?
x = 5 May / 6 October
p What is your price for two movers with a van on {x}?
s I'm relocating on {x}. What does a van with two movers cost?
n I am moving on {x}. How much does a van with 2 movers cost?
- number: I am moving on {x}. How much does a van with four movers cost?
- constraint: I am moving on {x}. How much does a van with two movers cost if I do the packing?
- topic: I am moving on {x}. How early does a van with two movers arrive?
- negation: I am moving on {x}. How much does a van without movers cost?
- date: I moved on {x}. Where is the bill for the van with two movers?

faq: How do I end a ride with an e-scooter?
p What must I do so that my e-scooter ride stops and is no longer charged?
s How can I finish a ride with an e-scooter?
- antonym: How do I start a ride with an e-scooter?
- entity: How do I end a ride with a cargo bike?
- topic: How do I pause a ride with an e-scooter?
- constraint: How do I end a ride with an e-scooter when the app has crashed?
- negation: Why can I not end a ride with an e-scooter here?
- scope: How do I see my last ride with an e-scooter?

faq: My pizza came cold. Do I get my money back?
p Will you refund me for a pizza that wasn't hot when it was delivered?
r Do I get my money back if my pizza came cold?
- topic: My pizza came burnt. Do I get my money back?
- topic: My pizza came cold. Do I get a new one?
- negation: My pizza came without the olives I paid for. Do I get my money back?
- quantity: One of our nine pizzas came cold. Do I get all my money back?
- modality: My pizza came cold. Must I send it back to get my money?

faq: How do I enrol for a second degree while I am still studying?
p I'm a student already. In what way can I sign up for another degree at the same time?
s How can I register for a second degree while I'm still studying?
- antonym: How do I leave a second degree while I am still studying?
- date: How do I enrol for a second degree after I have graduated?
- subject: How do I enrol an exchange student for a second degree?
- topic: How do I finance a second degree while I am still studying?
- modality: May I enrol for a second degree while I am still studying?

faq: At what age can a {x} retire on a full pension?
x = midwife / bus driver # subject
p How old does a {x} have to be to get a full pension?
s From what age may a {x} retire with a full pension?
r On a full pension, at what age can a {x} retire?
- scope: What is the youngest age at which a {x} can retire on a partial pension?
- modality: At what age must a {x} retire?
- topic: At what age can a {x} start an apprenticeship?
- date: At what age could a {x} retire on a full pension in 1985?

faq: What is the price of a ski pass for {x}?
x = four days / eleven days # number
p How much is it if I want to ski for {x} with a pass?
s What's the cost of a ski pass for {x}?
- unit: What is the price of a ski pass for two weeks?
- subject: What is the price of a ski pass for {x} for a teenager?
- entity: What is the price of ski hire for {x}?
- constraint: What is the price of a ski pass for {x} that may be used on any days of the season?
- antonym: What is the refund for a ski pass of {x} that was not used?

faq: Do I have to pay customs duty on a present worth €{x}?
x = 35 / 60 # number
p Someone sends me a present that is worth €{x} from outside the country. Will customs charge me?
s Must I pay import duty on a gift worth €{x}?
r On a present worth €{x}, do I have to pay customs duty?
- unit: Do I have to pay customs duty on a present of {x} kg?
- antonym: Do I get customs duty back on a present worth €{x} that I return?
- topic: Do I have to pay postage on a present worth €{x}?
- subject: Does the sender have to pay customs duty on a present worth €{x}?
- negation: What happens if I do not pay customs duty on a present worth €{x}?

faq: How can I have my mail forwarded to {x} for six weeks?
x = my parents' house / my summer cottage # entity
p For six weeks, my letters should reach me at {x}. What must I do?
s How can I have my post redirected to {x} for six weeks?
n How can I have my mail forwarded to {x} for 6 weeks?
- unit: How can I have my mail forwarded to {x} for six days?
- antonym: How can I stop having my mail forwarded to {x}?
- swap: How can I have mail that arrives at {x} forwarded to me for six weeks?
- topic: How can I have my mail held back for six weeks while I stay at {x}?

faq: How much is a haircut for {x}?
x = a man with short hair / a girl of nine / a bride # subject
p What do you charge to cut the hair of {x}?
s What does a haircut for {x} cost?
r For {x}, how much is a haircut?
- topic: How long is a haircut for {x}?
- constraint: How much is a haircut at home for {x}?
- entity: How much is hair dyeing for {x}?
- negation: How much does {x} pay for washing without a haircut?

faq: Should I bring my cat to the vet if she has not eaten for {x}?
x = a day / a week # unit
p My cat has had no food for {x}. Is that a reason to see the vet?
s Should I take my cat to the vet if she hasn't eaten for {x}?
r If she has not eaten for {x}, should I bring my cat to the vet?
- entity: Should I bring my cat to the vet if she has not drunk for {x}?
- antonym: Should I bring my cat to the vet if she has not stopped eating for {x}?
- modality: Can I bring my cat to the vet without an appointment if she has not eaten for {x}?
- topic: Should I brush my cat if she has not been brushed for {x}?

faq: Can I take back a job offer that I have accepted?
p I said yes to a job offer. Am I still free to withdraw?
s Can I withdraw from a job offer that I've accepted?
- subject: Can the company take back a job offer that I have accepted?
- negation: Can I come back to a job offer that I have not accepted?
- modality: Must I explain why I take back a job offer that I have accepted?
- antonym: Can I accept a job offer that I have turned down?

faq: Is there a fine if I pay my water bill {x} late?
x = two weeks / two days # unit
p Will I be penalised for paying my water bill {x} after it was due?
s Is there a penalty if I pay my water bill {x} late?
r If I pay my water bill {x} late, is there a fine?
- antonym: Is there a bonus if I pay my water bill {x} early?
- number: Is there a fine if I pay my water bill nine weeks late?
- subject: Is there a fine if my lodger pays the water bill {x} late?
- modality: Could I ask to pay my water bill {x} late?

faq: I've lost my umbrella on the tram. Where is the lost property office?
p Where do I find the office that keeps lost things? My umbrella stayed on the tram.
r Where is the lost property office? I've lost my umbrella on the tram.
- antonym: I've found an umbrella on the tram. How long does the lost property office keep it?
- topic: I've lost my umbrella on the tram. What does the lost property office charge?
- date: I lost my umbrella on the tram last year. Does the lost property office still have it?
- quantity: I've lost all my luggage on the tram. How many bags does the lost property office get a day?

faq: How do I book an appointment for an ID card at the town hall in {x}?
x = February / November # date
p I need an ID card. What do I do to get an appointment at the town hall in {x}?
s How can I make an appointment for an ID card at the town hall in {x}?
r At the town hall in {x}, how do I book an appointment for an ID card?
- antonym: How do I cancel an appointment for an ID card at the town hall in {x}?
- entity: How do I book an appointment for a wedding at the town hall in {x}?
- subject: How do I book an appointment for my twins' ID cards at the town hall in {x}?
- scope: How do I book the earliest appointment of all for an ID card at the town hall in {x}?

faq: How do I activate a new SIM card?
p I have just got a SIM card. What makes it work?
s How can I put a new SIM card into service?
- antonym: How do I deactivate a SIM card?
- topic: How do I cut a new SIM card to size?
- scope: How do I activate all the new SIM cards of a company?
- subject: How do I activate a new SIM card for my aunt?
- constraint: How do I activate a new SIM card without an email address?

faq: Is data roaming included when I travel to {x}?
x = Turkmenistan / Malta # entity
p Can I use the data of my plan in {x} at no extra cost?
s Is roaming data included when I go to {x}?
r When I travel to {x}, is data roaming included?
- antonym: Is data roaming blocked when I travel to {x}?
- topic: Are text messages included when I travel to {x}?
- negation: How do I travel to {x} without data roaming?
- quantity: How much data roaming is included when I travel to {x}?

faq: May I leave work early on {x}?
x = Christmas Eve / Shrove Tuesday # date
p On {x}, am I allowed to go home before the usual time?
s Can I go home early on {x}?
r On {x}, may I leave work early?
- antonym: May I stay at work late on {x}?
- modality: Must I leave work early on {x}?
- subject: May shift workers leave work early on {x}?

faq: Can I return my pills to the pharmacy if the pack is unopened?
p Does the pharmacy take back pills in a pack that nobody opened?
r If the pack is unopened, can I return my pills to the pharmacy?
- antonym: Can I return my pills to the pharmacy if the pack is open?
- modality: Do I have to return my pills to the pharmacy if the pack is unopened?
- entity: Can I return my blood pressure monitor to the pharmacy if the box is unopened?
- topic: Can I burn my pills at home if the pack is unopened?

faq: I cannot log in to the timesheet tool on {x}. How do I fix that?
x = my tablet / a warehouse terminal # entity
p The timesheet tool does not let me in on {x}. What do I do about it?
s I cannot sign in to the timesheet tool on {x}. How can I fix this?
r How do I fix it that I cannot log in to the timesheet tool on {x}?
- antonym: I cannot log out of the timesheet tool on {x}. How do I fix that?
- topic: I cannot print from the timesheet tool on {x}. How do I fix that?
- subject: A temp cannot log in to the timesheet tool on {x}. What account does a temp need?
- date: I could not log in to the timesheet tool on {x} yesterday. How do I enter the hours I worked?
"""
