INTENTS = r"""
faq: My debit card was swallowed by a cash machine. What now?
p An ATM kept my debit card and did not give it back. What am I supposed to do?
s My bank card was retained by an ATM. What should I do now?
r What now? A cash machine swallowed my debit card.
- swap: My debit card came out of the cash machine, but the machine kept my cash. What now?
- entity: My credit card was swallowed by a ticket machine. What now?
- negation: My debit card was not accepted by a cash machine. What now?

faq: What is the exchange fee when I pay in {x} with my card?
x = Swiss francs / Japanese yen / Polish zloty # entity
p How much do you charge for the conversion if my card is used for a payment in {x}?
s What does it cost to convert a card payment made in {x}?
r When I pay in {x} with my card, what is the exchange fee?
- antonym: What is the exchange fee when I receive {x} on my account?
- topic: What is the cashback when I pay in {x} with my card?
< constraint: What is the exchange fee when I pay in {x} with my card at the weekend?
- negation: When is there no exchange fee if I pay in {x} with my card?
- modality: Should I pay in {x} with my card?

faq: Can I raise my overdraft limit to €{x}?
x = 500 / 800 / 1,500 # number
p Would it be possible to have an overdraft of up to €{x}?
s Is it possible to increase my overdraft limit to €{x}?
- antonym: Can I lower my overdraft limit to €{x}?
- subject: Can my business partner raise our overdraft limit to €{x}?
- entity: Can I raise my daily withdrawal limit to €{x}?
- unit: Can I raise my overdraft limit to £{x}?
- constraint: Can I raise my overdraft limit to €{x} without proof of income?

faq: How long does a transfer from my account to {x} take?
x = an account in Brazil / a mobile wallet / a broker # entity
p If I send money from my account to {x}, when does it get there?
s How much time does a payment from my account to {x} need?
r To {x}, how long does a transfer from my account take?
- swap: How long does a transfer from {x} to my account take?
- topic: How much does a transfer from my account to {x} cost?
< constraint: How long does a transfer from my account to {x} take at weekends?
- quantity: How many transfers a day can I make from my account to {x}?
- modality: May I make a transfer from my account to {x}?

faq: I forgot the PIN of my credit card. How do I get a new one?
p How can I obtain another PIN for my credit card? I no longer remember it.
s I cannot remember my credit card's PIN. How can I get a replacement PIN?
r How do I get a new PIN for my credit card? I forgot it.
- antonym: I remember the PIN of my credit card but got a new one. How do I keep the old one?
- topic: I forgot the number of my credit card. How do I look it up?
- entity: I forgot the PIN of my phone. How do I get a new one?
- quantity: I forgot the PINs of all my credit cards. How do I get the same new one for each?
- negation: I have not forgotten the PIN of my credit card. Why do I get a new one?

faq: When is my {x} mortgage payment due?
x = first / next / final # scope
p On what day do I have to make my {x} mortgage payment?
s On which date must I pay my {x} mortgage installment?
r My {x} mortgage payment: when is it due?
- topic: How high is my {x} mortgage payment?
- subject: When is my tenant's {x} rent payment due?
- negation: What happens if I do not make my {x} mortgage payment?
- modality: Can I postpone my {x} mortgage payment?

faq: Do you charge interest if I repay my loan early?
p Will early repayment of my loan cost me any interest?
s Is interest charged if I pay off my loan early?
r If I repay my loan early, do you charge interest?
- antonym: Do you charge interest if I repay my loan late?
- topic: Do you lower the interest if I take a second loan early?
- negation: Why do you not charge interest if I repay my loan early?
- quantity: Do you charge interest if I repay half of my loan early?
- modality: Must I repay my loan early if you ask for it?

faq: How do I block contactless payments on my {x} card?
x = own / teenager's / company's # subject
p I don't want anyone to tap and pay with my {x} card. How do I prevent that?
s How can I disable contactless payments on my {x} card?
r On my {x} card, how do I block contactless payments?
- antonym: How do I allow contactless payments on my {x} card?
- topic: How do I block online payments on my {x} card?
- scope: How do I block all payments on my {x} card?
- constraint: How do I block contactless payments over $20 on my {x} card?
- modality: Can the bank block contactless payments on my {x} card?

faq: Which form do I use to {x} a standing order?
x = set up / cancel / amend # antonym
p What is the form called with which I {x} a standing order?
s Which form is needed to {x} a standing order?
r To {x} a standing order, which form do I use?
- entity: Which form do I use to {x} a direct debit?
- constraint: Which form do I use to {x} a standing order in a foreign currency?
- negation: How do I {x} a standing order without a form?
- modality: Must I use a form to {x} a standing order?

faq: How much can I withdraw per {x} without a fee?
x = day / month / visit # unit
p What sum may I take out per {x} before you charge me?
s What amount can I withdraw free of charge per {x}?
r Without a fee, how much can I withdraw per {x}?
- antonym: How much can I deposit per {x} without a fee?
- constraint: How much can I withdraw abroad per {x} without a fee?
- scope: What is the smallest amount I can withdraw per {x} without a fee?
- topic: How much can I withdraw per {x} without a card?
- subject: How much can a minor withdraw per {x} without a fee?

faq: Somebody used my card for a payment I did not make on {x}. How do I dispute it?
x = 3 March / 17 August / 30 November
p There is a card payment of {x} that isn't mine. What do I do to contest it?
s On {x} a stranger used my card for a payment. How can I contest that payment?
r How do I dispute a payment of {x}? Somebody used my card, it was not me.
- antonym: I used somebody's card by mistake for a payment on {x}. How do I confess it?
- negation: Somebody disputes a payment that I made on {x}. How do I prove that it was not fraud?
- quantity: Somebody used my card for a dozen payments on {x}. Does one form dispute them all?
- entity: Somebody used my gift voucher on {x}. How do I dispute it?

faq: What papers do I need to bring to the branch as an executor?
p I'm the executor of a will. Which documents should I take with me to your branch?
s Which documents must I bring to the branch as an executor?
r As an executor, what papers do I need to bring to the branch?
- subject: What papers do I need to bring to the branch as an heir?
- negation: What papers do I not need to bring to the branch as an executor?
- swap: What papers does the branch need to give an executor?
- scope: What single paper is the most urgent to bring to the branch as an executor?
- modality: Can I send papers to the branch by post as an executor?
"""
