/** A promise that settles within `ms`, whatever happens to the work. */
export class Deadline {
  constructor(
    private readonly ms: number,
    private readonly message: string,
  ) {}

  of<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(this.message)), this.ms);
      work.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }
}
