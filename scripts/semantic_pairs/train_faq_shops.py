INTENTS = r"""
faq: How do I return a {x} that I bought online?
x = jacket / coffee machine / pair of shoes # entity
p What is the process for sending back a {x} I ordered on your website?
s How can I send back a {x} that I purchased online?
r I bought a {x} online. How do I return it?
- negation: Why can I not return a {x} that I bought online?
- antonym: How do I buy a {x} that somebody else returned online?
- constraint: How do I return a {x} that I bought online without the receipt?
- modality: Do I have to return a {x} that I bought online?
- subject: How does a shop return a {x} that a customer bought online to the supplier?

faq: How many days do I have to return an opened {x}?
x = game / bottle of perfume / headset # entity
p Until when can I bring back a {x} that has already been opened?
s Within how many days may I send back an unsealed {x}?
- antonym: How many days do I have to return an unopened {x}?
- modality: Should I return an opened {x}?
- subject: How many days do you have to refund an opened {x}?
- topic: How many days do I have to register an opened {x}?

faq: Is delivery free for orders over ${x}?
x = 25 / 40 / 75 / 100 # number
p Do I avoid the delivery fee if I spend more than ${x}?
s Is shipping free of charge for orders above ${x}?
r For orders over ${x}, is delivery free?
- antonym: Is delivery free for orders under ${x}?
- unit: Is delivery free for orders over {x} kg?
- topic: Is gift wrapping free for orders over ${x}?
- constraint: Is express delivery free for orders over ${x}?

faq: Can I exchange a {x} for another size?
x = T-shirt / wetsuit / winter coat # entity
p My {x} doesn't fit. Will you swap it for one in a different size?
s Can I swap a {x} for a different size?
- topic: Can I exchange a {x} for another colour?
< constraint: Can I exchange a worn {x} for another size?
- modality: Must I exchange a {x} for another size to get my money back?
- negation: Can I return a {x} without exchanging it for another size?

faq: Where can I see my past orders?
p How do I find the list of things I ordered before?
s Where can I view my previous orders?
- scope: Can I see all my past orders or only those of the last year?
- antonym: Where can I see my upcoming orders?
- subject: Where can I see my team's past orders?
- topic: Where can I see my past reviews?

faq: My voucher code {x}. What should I do?
x = is refused at the checkout / has expired / was already used # topic
p What do I do now that my voucher code {x}?
s My coupon code {x}. What can I do?
r What should I do? My voucher code {x}.
- entity: My gift card {x}. What should I do?
- subject: My customer's voucher code {x}. What should I do as a seller?

faq: Can I use two discount codes on one order?
p Is it possible to combine a pair of promo codes in a single purchase?
s May I apply two promo codes to a single order?
r On one order, can I use two discount codes?
n Can I use 2 discount codes on 1 order?
- number: Can I use three discount codes on one order?
- swap: Can I use one discount code on two orders?
- modality: Do I have to use two discount codes on one order?
- entity: Can I use two gift cards on one order?
- negation: Why can't I use two discount codes on one order?

faq: Which of your {x} shops are open on Sundays?
x = Leeds / Bristol / Cardiff # entity
p I need a shop in {x} that opens on Sunday. Which ones do?
s Which of your {x} stores are open each Sunday?
r On Sundays, which of your {x} shops are open?
- negation: Which of your {x} shops are not open on Sundays?
- date: Which of your {x} shops are open on Mondays?
- antonym: Which of your {x} shops are closed on Sundays?
- scope: Which of your {x} shops is open the longest on Sundays?

faq: The {x} arrived broken. How do I get my money back?
x = vase / monitor / mirror # entity
p How can I get a refund for a {x} that was damaged when it came?
s The {x} arrived damaged. How do I get a refund?
r How do I get my money back? The {x} arrived broken.
- antonym: The {x} arrived intact. How do I pay for it?
- topic: The {x} arrived broken. How do I get a replacement?
- constraint: The {x} arrived broken. How do I get my money back in cash?
- negation: The {x} has not arrived. How do I get my money back?

faq: Does the warranty of the {x} cover water damage?
x = smartwatch / action camera # entity
p If water gets into the {x} and breaks it, does the guarantee pay for that?
s Does the guarantee on the {x} include damage by water?
r Is water damage covered by the warranty of the {x}?
- topic: Does the warranty of the {x} cover fire damage?
- negation: Which water damage does the warranty of the {x} not cover?
- entity: Does the insurance of the {x} cover water damage?
- scope: Does the warranty of the {x} cover all damage?
< constraint: Does the warranty of the {x} cover water damage after the first year?

faq: How long is the guarantee on a refurbished {x}?
x = vacuum cleaner / laser printer # entity
p For what length of time is a refurbished {x} under guarantee?
s How long is the warranty on a reconditioned {x}?
r On a refurbished {x}, how long is the guarantee?
- antonym: How long is the guarantee on a brand-new {x}?
- topic: How long is the delivery time of a refurbished {x}?
- modality: How long should the guarantee on a refurbished {x} be by law?

faq: Can I pick up my order {x}?
x = at a petrol station / in a parcel locker / at the warehouse # entity
p I'd like to collect my order {x}. Is that possible?
s Can I collect my order {x}?
- antonym: Can I drop off my return {x}?
- subject: Can a neighbour pick up my order {x}?
- modality: Do I have to pick up my order {x}?
- constraint: Can I pick up my order {x} without proof of identity?
- quantity: Can I pick up half of my order {x}?

faq: How do I change the delivery address before the order ships?
p My parcel hasn't left yet. How can I have it sent to a different address?
s How do I edit the shipping address before the order is sent?
r Before the order ships, how do I change the delivery address?
- antonym: How do I change the delivery address after the order ships?
- topic: How do I change the payment method before the order ships?
- scope: How do I change the default delivery address for all orders?
- entity: How do I change the billing address before the order ships?

faq: Is the {x} suitable for children under three?
x = wooden train / bath toy # entity
p Can a child who isn't three yet play safely with the {x}?
s Is the {x} appropriate for kids younger than three?
r For children under three, is the {x} suitable?
- antonym: Is the {x} suitable for children over three?
- number: Is the {x} suitable for children under two?
- unit: Is the {x} suitable for children under three months?
- subject: Is the {x} suitable for dogs?
- negation: Why is the {x} not suitable for children under three?
"""
